"""Web unit tests: the files of the ops page."""
