"""Queue tests: Dramatiq over a real Redis."""
