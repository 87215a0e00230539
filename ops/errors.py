"""Errors: what is raised where a person asked for what makes no sense."""


class UsageError(Exception):
    """What to do instead, printed on one line; exit status 2."""
