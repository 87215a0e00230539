"""Processing tests: batches of commands over a real database."""
