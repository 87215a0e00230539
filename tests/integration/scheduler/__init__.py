"""Scheduler tests: one module a duty."""
