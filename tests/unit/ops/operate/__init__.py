"""Operate tests: operator actions without a pipeline."""
