"""Browser tests: the ops page as an operator sees it, in a real browser."""
