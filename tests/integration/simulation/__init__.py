"""Simulation tests: the demo over a real database."""
