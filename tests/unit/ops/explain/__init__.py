"""Explain tests: what an operator is told of an order."""
