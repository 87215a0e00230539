"""Command tests: what a sender may write."""
