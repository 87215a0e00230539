"""Calls: a pipeline in one thread, each of whose calls can be made to fail."""
