"""Checks: what happened in a run, held against what must be."""
