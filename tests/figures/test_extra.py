"""Without `supcrd[figures]` all but figures and reports works, and those say in one line what to install."""

import subprocess
import sys

HIDDEN = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jinja2", "matplotlib", "plotly", "openTSNE"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""


def test_a_missing_extra_is_one_line_that_names_it(tmp_path):
    script = HIDDEN + "from supcrd.cli import app\napp()"
    for arguments in (["report", "."], ["plot", "curves", ".", "--out", "a.png"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "error: figures and reports need jinja2; pip install 'supcrd[figures]'\n"


def test_the_rest_is_there_without_it():
    script = HIDDEN + "import supcrd, supcrd.jobs.run, supcrd.cli\nprint(supcrd.load_model.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("load_model\n", "")
