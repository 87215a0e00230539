"""Property tests: laws that hold for every history."""
