"""Query tests: lists, reports, exports and monitoring."""
