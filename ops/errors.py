"""Errors: what a person asked makes no sense; the message says what to do instead."""


class UsageError(Exception):
    """An answer to the asker, printed on one line; exit status 2."""
