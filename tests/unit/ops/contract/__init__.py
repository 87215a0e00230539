"""Contract tests: what is written down for others."""
