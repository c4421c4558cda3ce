"""Files of plug-ins that are read again: unchanged, and changed."""

import os
import py_compile
from pathlib import Path

from supcrd.evaluation.measure import OWN
from supcrd.recipe import plugins

MEASURE = """import supcrd

@supcrd.measure("of_a_file", title="T", meaning="A number.", better=0)
def compute(measured):
    return {number}
"""


def test_a_file_that_was_read_twice_may_change(tmp_path: Path) -> None:
    """What it registered stays its own, also where that is no class or function of its module."""
    for number in (1, 1, 2):
        (tmp_path / "mine.py").write_text(MEASURE.format(number=number))
        plugins.load(["mine.py"], tmp_path)
        compute = OWN.get("of_a_file").compute
        assert compute(None) == number
    OWN.forget("of_a_file", compute.__module__)
    assert OWN.find("of_a_file") is None


def test_bytecode_beside_a_file_is_not_run(tmp_path: Path) -> None:
    """Of the same size and second as the file: Python's own loader takes it, a stranger's may be anything."""
    path = tmp_path / "mine.py"
    path.write_text(MEASURE.format(number=1))
    py_compile.compile(str(path))
    before = path.stat()
    path.write_text(MEASURE.format(number=2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    plugins.load(["mine.py"], tmp_path)
    compute = OWN.get("of_a_file").compute
    assert compute(None) == 2
    OWN.forget("of_a_file", compute.__module__)
