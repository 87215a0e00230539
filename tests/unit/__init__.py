"""Unit tests: decisions without a world around them."""
