"""Outbox: events from the database to Redis Streams, and what the streams keep."""
