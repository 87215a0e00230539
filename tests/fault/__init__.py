"""Fault tests: what survives when processes and connections break."""
