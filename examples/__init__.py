"""Examples: a campaign to play, and what writes it."""
