"""Simulation tests: steps, demo and scenarios without servers."""
