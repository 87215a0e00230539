"""Benchmarks: what was measured, against whom, and how to repeat it."""
