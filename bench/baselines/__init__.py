"""Baselines: actors on stock Dramatiq that ours is compared with."""
