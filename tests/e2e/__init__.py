"""End-to-end tests: what the README starts, fed with real input."""
