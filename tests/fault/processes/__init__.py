"""Processes: a whole stack in real processes, its traffic, and what can be done to it."""
