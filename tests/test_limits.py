"""The house rule for sizes: a file has at most 300 lines, the body of a function at most 60, its docstring apart."""

import ast
from pathlib import Path

import supcrd

SOURCE = Path(supcrd.__file__).parent
FILE, BODY = 300, 60


def sources() -> dict[str, str]:
    """Every file of the package: path in it -> text."""
    return {path.relative_to(SOURCE).as_posix(): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement to the last, without the docstring."""
    statements = function.body[ast.get_docstring(function, clean=False) is not None :]
    return statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0


def test_lines_of_a_body_are_counted_without_signature_and_docstring():
    text = 'def f(\n    a,\n):\n    """One.\n\n    Two.\n    """\n    # first\n    b = a\n\n    return b\n'
    assert body_lines(ast.parse(text).body[0]) == 3
    assert body_lines(ast.parse('def f():\n    """Nothing."""\n').body[0]) == 0


def test_files_are_short():
    lengths = {name: len(text.splitlines()) for name, text in sources().items()}
    assert {name: length for name, length in lengths.items() if length > FILE} == {}


def test_functions_are_short():
    too_long = {
        f"{name} {node.name}": body_lines(node)
        for name, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > BODY
    }
    assert too_long == {}
