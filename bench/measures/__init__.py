"""Measures: one module for each thing that is measured."""
