"""Datasets: databases filled for tests, each in one way."""
