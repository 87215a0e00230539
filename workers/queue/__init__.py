"""Queue: Dramatiq over Redis: connection, messages, broker, consumers, and the watermark."""
