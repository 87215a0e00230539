"""Queries: what is read from the database and from Redis without changing anything."""
