"""Ops unit tests: the parts of ops that need no server."""
