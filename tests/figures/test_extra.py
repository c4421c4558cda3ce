"""Without `supcrd[figures]` all but figures and reports works, and those say in one line what to install."""

import subprocess
import sys

import pytest

from supcrd.figures.extra import DRAWS
from typed import contents, refused

HIDDEN = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jinja2", "matplotlib", "plotly", "openTSNE"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""
COMMANDS = {
    "demo": ["demo", "--out", "runs"],
    "report": ["report", "runs", "--out", "new/report.html"],
    "watch": ["report", "runs", "--watch", "--out", "new/report.html"],
    "plot": ["plot", "curves", "runs", "--out", "a.png"],
    "layout": ["reproduce", "layout", "runs", "--out", "published"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("missing", DRAWS)
def test_a_missing_extra_is_one_line_before_any_work(tmp_path, monkeypatch, command, missing):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    said = refused(*COMMANDS[command])
    assert said.strip() == f"error: figures and reports need {missing}; pip install 'supcrd[figures]'"
    assert contents(tmp_path) == {}


def test_the_rest_is_there_without_it(tmp_path):
    script = HIDDEN + "import supcrd, supcrd.jobs.run, supcrd.cli\nprint(supcrd.load_model.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("load_model\n", "")
    script = HIDDEN + "from supcrd.cli import app\napp()"
    arguments = ["report", "."]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: figures and reports need jinja2; pip install 'supcrd[figures]'\n"
