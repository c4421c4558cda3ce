"""A figure of a user's own: docs/figures.md's example is run, and what is wrong with one is one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_points import folder
from PIL import Image

from supcrd.figures.registry import FIGURES
from typed import invoke, refused

DOCUMENT = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n# my_figures\.py\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built_in = list(FIGURES)
    yield folder(tmp_path, "run")
    for name in set(FIGURES) - set(built_in):
        del FIGURES._things[name], FIGURES._origins[name]


def plugin(text, name="mine.py"):
    Path(name).write_text(text)
    return name


def test_the_example_of_the_documents(run):
    plugin(EXAMPLE, "my_figures.py")
    listed = invoke("plot", "list", "--plugin", "my_figures.py").stdout
    assert "confidence" in listed
    assert "tsne" in listed
    for ending in ("png", "html"):
        arguments = ("plot", "confidence", run, run, "--plugin", "my_figures.py", "--out", f"a.{ending}")
        assert invoke(*arguments).exit_code == 0
    with Image.open("a.png") as picture:
        assert picture.width > 500
    assert "<svg" in Path("a.html").read_text()
    assert "confidence has no --seed" in refused(*arguments, "--seed", "1")
    assert "did you mean confidence?" in refused("plot", "confidense", run, "--out", "b.png")


def test_a_name_that_is_taken(run):
    text = "import supcrd\n\n@supcrd.figure('tsne')\ndef mine(points, *, theme): ...\n"
    said = refused("plot", "tsne", run, "--plugin", plugin(text), "--out", "a.png")
    assert re.search(r"figure 'tsne' of \S*mine\.py is taken by \S*kinds/tsne\.py; give it another name", said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "returns int; a matplotlib.figure.Figure is right"),
        ("pass", "returns NoneType; a matplotlib.figure.Figure is right"),
        ("1 / 0", "fails: ZeroDivisionError: division by zero ("),
    ],
)
def test_a_figure_that_is_wrong_is_named_with_its_file(run, body, said):
    text = f"import supcrd\n\n@supcrd.figure('wrong')\ndef draw(points, *, theme):\n    {body}\n"
    line = refused("plot", "wrong", run, "--plugin", plugin(text), "--out", "a.png")
    assert re.search(r"figure 'wrong' of \S*mine\.py " + re.escape(said), line)
    assert not Path("a.png").exists()


def test_an_interactive_figure_is_plotlys(run):
    text = (
        "import supcrd\n\n@supcrd.figure('half', interactive=lambda points, *, theme: {})\n"
        "def draw(points, *, theme): ...\n"
    )
    line = refused("plot", "half", run, "--plugin", plugin(text), "--out", "a.html")
    assert "mine.py returns dict; a plotly.graph_objects.Figure is right" in line


def test_an_installed_package_brings_a_figure(run, monkeypatch):
    """By an entry point, with the decorator and without."""
    Path("packaged.py").write_text(
        "import supcrd\nfrom matplotlib.figure import Figure\n\n"
        "@supcrd.figure('with')\ndef one(points, *, theme):\n    return Figure()\n\n"
        "def two(points, *, theme):\n    return Figure()\n"
    )
    about = Path("packaged-1.dist-info")
    about.mkdir()
    (about / "METADATA").write_text("Name: packaged\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[supcrd.figures]\nwith = packaged:one\nwithout = packaged:two\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    for name in ("with", "without"):
        assert invoke("plot", name, run, "--out", f"{name}.png").exit_code == 0
        assert Path(f"{name}.png").stat().st_size > 0


def test_registering_a_figure_loads_no_torch():
    script = (
        "import sys, supcrd\n@supcrd.figure('a')\ndef draw(points, *, theme): ...\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
