"""Operate tests: bulk runs and dry runs over real servers."""
