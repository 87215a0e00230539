"""Worker unit tests: the parts of workers that need no server."""
