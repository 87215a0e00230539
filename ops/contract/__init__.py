"""Contract: the messages that others send and receive, as schemas that are released."""
