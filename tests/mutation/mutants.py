"""Mutants: every small fault that can be written into a module, and a fair sample of them."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["comparison", "boolean", "number", "branch", "statement"]
Edit = tuple[ast.AST, Kind, list[str]]
"""What to replace, as what it counts, and the texts that may stand there instead."""

OPPOSITES: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
NEVER_MATCHED = "'no such value'"


@dataclass(frozen=True)
class SourceMutant:
    """One fault at one place: where, what it is, and the module's text that has it."""

    path: str
    line: int
    kind: Kind
    line_text: str
    change: str
    function: str | None
    """The outermost function around the place, qualified; None where importing runs the place."""
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Name the mutant by what it says, not by where: other lines may come and go."""
        return self.path, self.line_text, self.change

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.kind}: {self.change}"


def sample(root: Path, package: str, seed: int, number: int) -> list[SourceMutant]:
    """Draw places and kinds, each as likely as any other, and at each one of its faults.

    The same seed and the same sources give the same mutants in the same order.
    """
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    places = [faults for path in modules(root, package) for faults in faults_by_place(root, path)]
    chosen_places = chance.sample(places, min(number, len(places)))
    return [chance.choice(faults) for faults in chosen_places]


def modules(root: Path, package: str) -> list[Path]:
    return sorted((root / package).rglob("*.py"))


def every_mutant(root: Path, package: str) -> Iterator[SourceMutant]:
    for path in modules(root, package):
        for faults in faults_by_place(root, path):
            yield from faults


def faults_by_place(root: Path, path: Path) -> list[list[SourceMutant]]:
    """List the places of a module in their order, each with all the faults it may have."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))

    def faults(
        node: ast.AST, kind: Kind, texts: list[str], function: str | None
    ) -> list[SourceMutant]:
        assert isinstance(node, ast.expr | ast.stmt | ast.pattern)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before, after = source.encode()[:start], source.encode()[end:]
        return [
            SourceMutant(
                path=str(path.relative_to(root)),
                line=node.lineno,
                kind=kind,
                line_text=lines[node.lineno - 1].strip(),
                change=describe(node, text),
                function=function,
                source=(before + text.encode() + after).decode(),
            )
            for text in texts
        ]

    return [
        faults(node, kind, texts, function)
        for (node, kind, texts), function in edits(ast.parse(source), ())
    ]


def describe(node: ast.AST, text: str) -> str:
    """Write before and after in one line."""
    before, after = (" ".join(part.split()) for part in (ast.unparse(node), text))
    return f"{before} -> {after}"


Located = tuple[Edit, str | None]


def edits(node: ast.AST, scope: tuple[str, ...], function: str | None = None) -> Iterator[Located]:
    """Walk a tree in the order of its text; give what may be replaced, and in which function.

    Left alone are assertions and what only types see, decorators, which say what a class is,
    and texts for people.
    """
    if isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    for edit in edits_here(node):
        yield edit, function
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        # Annotations and defaults are the module's doing, the body is the function's.
        yield from edits(node.args, scope, function)
        if node.returns:
            yield from edits(node.returns, scope, function)
        for statement in node.body:
            yield from edits(
                statement, (*scope, node.name), function or ".".join((*scope, node.name))
            )
    elif isinstance(node, ast.ClassDef):
        for statement in node.body:
            yield from edits(statement, (*scope, node.name), function)
    else:
        for child in ast.iter_child_nodes(node):
            yield from edits(child, scope, function)


def edits_here(node: ast.AST) -> Iterator[Edit]:  # noqa: C901, PLR0912 - one case a construct
    """Give what may be wrong about a node itself, not about what it is made of."""
    match node:
        case ast.Compare():
            yield node, "comparison", [*compared_otherwise(node)]
        case ast.BoolOp():
            yield node, "boolean", [*combined_otherwise(node)]
        case ast.UnaryOp(op=ast.Not()):
            yield node, "boolean", [f"({ast.unparse(node.operand)})"]
        case ast.Constant(value=bool()):
            yield node, "boolean", [str(not node.value)]
        case ast.Constant(value=int() | float()):
            assert isinstance(node.value, int | float)
            yield node, "number", [f"({node.value + 1})", f"({node.value - 1})"]
        case ast.BinOp(op=ast.Add() | ast.Sub()) if not is_text(node):
            yield node, "number", [opposite_sum(node)]
        case ast.If() | ast.While() | ast.IfExp():
            yield node.test, "branch", decided_otherwise(node.test)
        case ast.comprehension():
            for test in node.ifs:
                yield test, "branch", decided_otherwise(test)
        case ast.match_case():
            if node.guard is not None:
                yield node.guard, "branch", decided_otherwise(node.guard)
            elif not is_exhaustion(node.body[0]):
                yield node.pattern, "branch", [NEVER_MATCHED]
        case ast.Return(value=ast.expr()) if not is_nothing(node.value):
            yield node, "statement", ["return None"]
        case ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            # The function stays a generator.
            yield node, "statement", [f"if False: {ast.unparse(node)}"]
        case ast.AugAssign(op=ast.Add() | ast.Sub()):
            sign = "-" if isinstance(node.op, ast.Add) else "+"
            opposite = f"{ast.unparse(node.target)} {sign}= {ast.unparse(node.value)}"
            yield node, "statement", ["pass", opposite]
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield node, "statement", ["pass"]
        case ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Continue() | ast.Break():
            if not is_exhaustion(node):
                yield node, "statement", ["pass"]
        case ast.Expr() if not isinstance(node.value, ast.Constant) and not is_exhaustion(node):
            yield node, "statement", ["pass"]


def compared_otherwise(node: ast.Compare) -> Iterator[str]:
    for index, operator in enumerate(node.ops):
        for opposite in OPPOSITES[type(operator)]:
            operators = [*node.ops[:index], opposite(), *node.ops[index + 1 :]]
            yield f"({ast.unparse(ast.Compare(node.left, operators, node.comparators))})"


def combined_otherwise(node: ast.BoolOp) -> Iterator[str]:
    """Give `or` for `and`, and what is left when an operand is forgotten."""
    operator = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield f"({ast.unparse(ast.BoolOp(operator, node.values))})"
    for index in range(len(node.values)):
        remaining = [*node.values[:index], *node.values[index + 1 :]]
        combined = ast.BoolOp(node.op, remaining) if len(remaining) > 1 else remaining[0]
        yield f"({ast.unparse(combined)})"


def opposite_sum(node: ast.BinOp) -> str:
    operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    return f"({ast.unparse(ast.BinOp(node.left, operator, node.right))})"


def decided_otherwise(test: ast.expr) -> list[str]:
    return [f"(not ({ast.unparse(test)}))", "True", "False"]


def is_text(node: ast.BinOp) -> bool:
    """Tell of a sum that it joins texts or sequences: the opposite means nothing."""
    sequences = (ast.JoinedStr, ast.Tuple, ast.List)
    return any(
        isinstance(side, sequences)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        or (isinstance(side, ast.BinOp) and is_text(side))
        for side in (node.left, node.right)
    )


def is_nothing(node: ast.expr | None) -> bool:
    """Tell of what is returned that it is None already, or False, which asks the same of `if`."""
    return isinstance(node, ast.Constant) and node.value in (None, False)


def is_exhaustion(node: ast.AST) -> bool:
    """Tell of a statement that it only says to the type checker that nothing is left."""
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith("assert_never(")
