"""Errors: what is not the sender's doing, told apart by whether trying again will help."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a message: a value, since it is the sender's doing."""

    field: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"


class EarnestError(Exception):
    """Root of every error that Earnest raises on purpose."""


class TransientError(EarnestError):
    """Something that a later attempt may find mended."""


class Conflict(TransientError):
    """Another process wrote first: load again and handle again."""


class Unavailable(TransientError):
    """A server is away or cannot take writes now."""


class PermanentError(EarnestError):
    """Something that no repetition will mend: nothing was written, a human looks."""


class BrokenInvariant(PermanentError):
    """The code contradicted the table, the ledger or itself."""


class InvalidPolicy(PermanentError):
    """A policy that cannot be built: names the setting and what is wrong with it."""
