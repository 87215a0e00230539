"""Processing: batches of commands judged and written down, what failed, and wake-ups."""
