"""Integration tests: real databases, real Redis, real processes."""
