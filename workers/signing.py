"""Signing: proof that a command's text comes from somebody who was given a key."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import Self

MIN_KEY_BYTES = 16
"""Bytes of a key below which guessing it is a matter of money."""


UNSIGNED_FAULT = "not signed"


_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class InvalidKeys(ValueError):
    """Keys that cannot be used; says which one and why, never what it contained."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys in force, by id. The first signs, all of them verify: so keys can be changed.

    First add the new key at the end everywhere, then move it to the front, then take the old
    one away. An empty ring signs nothing and asks for nothing.
    """

    keys: dict[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `id:base64,id:base64`; raise `InvalidKeys`."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(filter(None, text.split(",")), start=1):
            key_id, _, secret = entry.strip().partition(":")
            if not _KEY_ID.fullmatch(key_id) or key_id in keys:
                raise InvalidKeys(f"key {number}: an id of its own is wanted, as in id:base64")
            try:
                keys[key_id] = base64.b64decode(secret, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidKeys(f"key {number}: what follows its id is no base64") from None
            if len(keys[key_id]) < MIN_KEY_BYTES:
                raise InvalidKeys(f"key {number}: {MIN_KEY_BYTES} bytes or more are wanted")
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self.keys)

    def sign(self, text: str) -> dict[str, str]:
        """Return the signature of a text: the key's id, and HMAC-SHA256 of its bytes in hex."""
        key_id = next(iter(self.keys))
        return {"kid": key_id, "mac": _mac(self.keys[key_id], text)}

    def fault(self, text: str, signature: object) -> str | None:
        """Say what is wrong with a text's signature, or None if it is right."""
        if not isinstance(signature, dict):
            return UNSIGNED_FAULT
        key_id, mac = signature.get("kid"), signature.get("mac")
        if not isinstance(key_id, str) or not isinstance(mac, str):
            return UNSIGNED_FAULT
        if key_id not in self.keys:
            return "signed with an unknown key"
        # In constant time, and as bytes: a text that is not ASCII would raise.
        right = hmac.compare_digest(_mac(self.keys[key_id], text).encode(), _bytes(mac))
        return None if right else "wrongly signed"


def _mac(key: bytes, text: str) -> str:
    return hmac.digest(key, _bytes(text), "sha256").hex()


def _bytes(text: str) -> bytes:
    # A lone surrogate is no text, but its refusal must be able to travel.
    return text.encode("utf-8", "surrogatepass")
