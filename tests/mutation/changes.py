"""Small changes of a file that ought to make a test fail: what can be changed, and the text that results."""

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
PAIRS = ("min max", "amin amax", "minimum maximum", "argmin argmax", "any all", "zeros ones", "sum mean", "floor ceil")
CALLED = {a: b for pair in PAIRS for a, b in (pair.split(), pair.split()[::-1])}
SAID = ("debug", "info", "warning", "error", "warn", "cast")
"""Calls whose arguments are words for people or for a type checker."""


@dataclass(frozen=True)
class Change:
    """One change of a file; the lines that it touches, before and after, are given without their margins."""

    file: str  # from the root of the project
    line: int
    kind: str
    before: str
    after: str
    text: str  # of the whole file


def changes(root: Path, file: str) -> dict[int, list[Change]]:
    """Line -> the changes of it; only lines in bodies of functions that run, without messages and annotations."""
    text = (root / file).read_text()
    lines = text.splitlines(keepends=True)
    possible: dict[int, list[Change]] = {}
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in _reached(function.body):
                for kind, new in _of(node):
                    change = _put(file, lines, node, kind, new)
                    if all(change.after != other.after for other in possible.get(change.line, [])):
                        possible.setdefault(change.line, []).append(change)
    return possible


def drawn(root: Path, folder: str, seed: int) -> Iterator[Change]:
    """Changes of the files of a folder, in an order drawn by the seed: one of each line."""
    generator = random.Random(f"{seed} {folder}")
    files = sorted(str(path.relative_to(root)) for path in (root / folder).rglob("*.py"))
    lines = [of_line for file in files for _, of_line in sorted(changes(root, file).items())]
    for of_line in generator.sample(lines, len(lines)):
        kind = generator.choice(sorted({change.kind for change in of_line}))
        yield generator.choice([change for change in of_line if change.kind == kind])


def _reached(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of a function's body that may be changed, those of inner functions apart."""
    for statement in body:
        documents = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not documents:
            yield from _inside(statement)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Raise | ast.Assert | ast.JoinedStr):
        return
    if isinstance(node, ast.Call) and _name(node) in SAID:
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "type_comment", "match_args"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _inside(child)


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in the place of one node."""
    match node:
        case ast.Compare(ops=[operator, *_]) if type(operator) in COMPARED:
            yield "comparison", _with(node, ops=[COMPARED[type(operator)](), *node.ops[1:]])
        case ast.BinOp(left, operator, right) if type(operator) in COMPUTED and not (_words(left) or _words(right)):
            yield "arithmetic", _with(node, op=COMPUTED[type(operator)]())
        case ast.AugAssign(op=operator, value=value) if type(operator) in COMPUTED and not _words(value):
            yield "arithmetic", _with(node, op=COMPUTED[type(operator)]())
        case ast.BoolOp(op=operator):
            yield "and, or", _with(node, op=ast.And() if isinstance(operator, ast.Or) else ast.Or())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "sign", operand
        case ast.Constant(value=bool() as value):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield "constant", ast.Constant(value + 1)
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "returned", ast.Return(ast.Constant(None))
        case ast.Continue():
            yield "loop", ast.Break()
        case ast.Break():
            yield "loop", ast.Continue()
        case ast.Expr(value=ast.Call() as call) if _name(call) not in SAID:
            yield "left out", ast.Pass()
    if isinstance(node, ast.Call):
        if _name(node) in CALLED:
            key = "attr" if isinstance(node.func, ast.Attribute) else "id"
            yield "call", _with(node, func=_with(node.func, **{key: CALLED[_name(node)]}))
        if len(node.args) > 1:  # of one alone every test of the line would know
            yield "argument", _with(node, args=node.args[:-1])
        for place in range(len(node.keywords)):
            yield "argument", _with(node, keywords=node.keywords[:place] + node.keywords[place + 1 :])
    for test in (getattr(node, "test", None), *getattr(node, "ifs", ())):
        if isinstance(test, ast.expr):
            yield "condition", _Negated(test)


class _Negated(ast.expr):
    """A condition turned round; it stands in the condition's own place."""

    def __init__(self, test: ast.expr) -> None:
        self.test = test


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _words(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _put(file: str, lines: list[str], node: Any, kind: str, new: ast.AST) -> Change:
    """The file with `new` in the place of `node`."""
    if isinstance(new, _Negated):
        node, source = new.test, f"not ({ast.unparse(new.test)})"
    else:
        source = ast.unparse(new)
    first, last = node.lineno - 1, node.end_lineno - 1
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last].encode()[node.end_col_offset :].decode()
    changed = head + source + tail
    before = " ".join(line.strip() for line in lines[first : last + 1])
    text = "".join([*lines[:first], changed, *lines[last + 1 :]])
    return Change(file, first + 1, kind, before, changed.strip(), text)
