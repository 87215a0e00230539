"""Command line tests: what a person at a terminal meets."""
