"""Compatibility: what a new schema breaks for those who rely on the released one.

Commands are read by us: whatever was accepted must stay acceptable. Events are read by others:
whatever they were promised must still be there. Either may grow; what a pattern allows in turn,
as kinds of subject and of cause, grows like any list of values: a pattern is spelt out, so that
two of them can be told apart by what they allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ops.json_schema import Schema

Readers = Literal["us", "others"]

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
CONDITIONS = ("if", "then", "else", "allOf", "not")


def breaking_changes(
    old: Mapping[str, Schema], new: Mapping[str, Schema], readers: Readers
) -> list[str]:
    """List, in sentences, what of `old` no longer holds in `new`; both map names to schemas."""
    changes = [f"{name}: removed" for name in old if name not in new]
    for name in old.keys() & new.keys():
        changes += _compare(old[name], new[name], readers, name)
    return sorted(changes)


def _compare(old: Schema, new: Schema, readers: Readers, path: str) -> Iterator[str]:
    before, after = _variants(old), _variants(new)
    for kind in before.keys() - after.keys():
        yield f"{path}: no longer {kind}"
    if readers == "others":
        for kind in after.keys() - before.keys():
            yield f"{path}: may now be {kind}"
    for kind in before.keys() & after.keys():
        yield from _compare_variant(before[kind], after[kind], readers, path)


def _variants(schema: Schema) -> dict[str, Schema]:
    """Tell apart the types that a value may have, and objects by their kind.

    A schema without a type is one of its own.
    """
    parts = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return {_variant(part): part for part in parts}


def _variant(part: Schema) -> str:
    kind = part.get("properties", {}).get("kind", {}).get("const")
    return str(kind or part.get("type", "constant"))


def _compare_variant(old: Schema, new: Schema, readers: Readers, path: str) -> Iterator[str]:
    yield from _compare_values(old, new, path)
    yield from _compare_bounds(old, new, readers, path)
    yield from _compare_shapes(old, new, readers, path)
    if readers == "us" and _conditions(old) != _conditions(new, of=old):
        yield f"{path}: its conditions changed"
    if "properties" in old:
        yield from _compare_fields(old, new, readers, path)
    if "items" in old:
        yield from _compare(old["items"], new.get("items", {}), readers, f"{path}[]")


def _compare_shapes(old: Schema, new: Schema, readers: Readers, path: str) -> Iterator[str]:
    """Compare forms; one may be dropped where we read, and added where others do."""
    for name in ("pattern", "format"):
        before, after = old.get(name), new.get(name)
        harmless = after is None if readers == "us" else before is None
        if before and after and name == "pattern":
            harmless = alternatives(before) <= alternatives(after)
        if before != after and not harmless:
            yield f"{path}: {name} changed"


def _conditions(schema: Schema, of: Schema | None = None) -> Schema:
    """Return the conditions of a schema, of those that hang on one field the ones that `of` has.

    No sender sets a field that came later, so what hangs on it refuses nobody.
    """
    known_fields = (of or schema).get("properties", {})
    dependent_schemas = schema.get("dependentSchemas", {})
    known_dependents = {
        name: dependent_schema
        for name, dependent_schema in dependent_schemas.items()
        if name in known_fields
    }
    return {name: schema.get(name) for name in CONDITIONS} | {"dependentSchemas": known_dependents}


def _compare_values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """Compare what a value may be, one by one; readers were told to expect new ones."""
    before, after = _values(old), _values(new)
    if before is None and after is not None:
        yield f"{path}: narrowed to {', '.join(map(str, after))}"
    if before is not None and after is not None:
        for value in before:
            if value not in after:
                yield f"{path}: {value} is no longer a value"


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _compare_bounds(old: Schema, new: Schema, readers: Readers, path: str) -> Iterator[str]:
    for names, sign in ((LOWER_BOUNDS, 1), (UPPER_BOUNDS, -1)):
        for name in names:
            before, after = _bound(old, name, sign), _bound(new, name, sign)
            tighter = after > before if readers == "us" else after < before
            if tighter:
                yield f"{path}: {name} changed from {old.get(name)} to {new.get(name)}"


def _bound(schema: Schema, name: str, sign: int) -> float:
    return sign * schema[name] if name in schema else float("-inf")


def _compare_fields(old: Schema, new: Schema, readers: Readers, path: str) -> Iterator[str]:
    before, after = old["properties"], new.get("properties", {})
    for name in before:
        if name not in after:
            yield f"{path}.{name}: removed"
        else:
            yield from _compare(before[name], after[name], readers, f"{path}.{name}")
    required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
    if readers == "us":
        yield from (f"{path}.{name}: now required" for name in required_after - required_before)
    else:
        yield from (
            f"{path}.{name}: no longer always there" for name in required_before - required_after
        )
    are_closed = [schema.get("additionalProperties") is False for schema in (old, new)]
    if readers == "us" and are_closed == [False, True]:
        yield f"{path}: no longer tolerates unknown fields"


def alternatives(pattern: str) -> frozenset[str]:
    """Spell a pattern out: `^(a|b):x` is `^a:x` or `^b:x`.

    A group that may be repeated, or left out, stays as it is. It is enough for the patterns that
    we write; of another it may say too little in common, and never too much.
    """
    return frozenset("".join(sequence) for sequence in _sequences(_split(pattern)))


def _sequences(options: list[str]) -> Iterator[tuple[str, ...]]:
    for option in options:
        sequences: list[tuple[str, ...]] = [()]
        for part in _parts(option):
            part_alternatives = (
                alternatives(part[1:-1]) if part[0] == "(" and part[-1] == ")" else {part}
            )
            sequences = [
                (*prefix, alternative)
                for prefix in sequences
                for alternative in sorted(part_alternatives)
            ]
        yield from sequences


def _split(pattern: str) -> list[str]:
    """Split a pattern at the bars that stand in no group."""
    branches = [""]
    for part in _parts(pattern):
        if part == "|":
            branches.append("")
        else:
            branches[-1] += part
    return branches


def _parts(pattern: str) -> Iterator[str]:
    """Cut a pattern into characters, classes, and groups with what counts them."""
    position = 0
    while position < len(pattern):
        end = _part_end(pattern, position)
        if pattern[position] == "(" and end < len(pattern) and pattern[end] in "?*+{":
            end += 1 if pattern[end] != "{" else pattern.index("}", end) + 1 - end
        yield pattern[position:end]
        position = end


def _part_end(pattern: str, position: int) -> int:
    """Return where the character, class or group that begins somewhere ends."""
    if pattern[position] == "\\":
        return position + 2
    if pattern[position] == "[":
        # A bracket that comes first in a class is a member of it.
        first = position + 3 if pattern[position + 1] == "^" else position + 2
        return pattern.index("]", first) + 1
    if pattern[position] != "(":
        return position + 1
    inner = position + 1
    while pattern[inner] != ")":
        inner = _part_end(pattern, inner)
    return inner + 1
