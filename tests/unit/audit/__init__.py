"""Audit tests: the invariants of the books, on forged records."""
