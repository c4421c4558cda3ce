"""The house rule: a floor imports only from floors below it (see docs/architecture.md)."""

import ast
import re
from pathlib import Path

import supcrd

SOURCE = Path(supcrd.__file__).parent

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
(LIST,) = re.findall(r"```floors\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
# Lowest first; parts of one floor import nothing of one another. What a floor is for stands behind two spaces.
FLOORS = [re.split(r" {2,}", line)[0].split() for line in LIST.splitlines()]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}


def part_of(path: Path) -> str:
    """The top-level part of the package that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Top-level parts of the package that a file imports at run time, imports inside functions included."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "supcrd":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("supcrd.")}
    return found


def test_every_module_has_a_floor():
    parts = {part_of(path) for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert parts == set(FLOOR)


def test_imports_point_downwards():
    wrong = [
        f"{path.relative_to(SOURCE)} imports {other}"
        for path in SOURCE.rglob("*.py")
        if part_of(path) != "__init__"
        for other in imports(path)
        if other != part_of(path) and FLOOR[other] >= FLOOR[part_of(path)]
    ]
    assert wrong == []


def test_only_the_command_line_prints():
    printing = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_public_names_exist():
    for name in supcrd.__all__:
        assert getattr(supcrd, name).__name__ == name
