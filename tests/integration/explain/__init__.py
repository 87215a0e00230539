"""Explain tests: accounts read from a real database."""
