"""Outbox tests: what is published, kept and recovered."""
