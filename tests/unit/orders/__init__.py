"""Order tests: the order aggregate, without a world around it."""
