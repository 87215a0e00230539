"""Explain: why an order is where it is, what happens next, and who may do what."""
