"""Web: the HTTP gateway for commands and queries, and the page for operators."""
