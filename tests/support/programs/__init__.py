"""Programs: child processes that tests start."""
