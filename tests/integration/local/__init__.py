"""Local stack tests: supervisor, embedded Redis and bootstrap."""
