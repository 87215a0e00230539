"""Orders: the order aggregate: what it is, what may be asked of it, and what follows."""
