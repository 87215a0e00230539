"""Processing: batches of commands handled and written down, what failed, and wake-ups."""
