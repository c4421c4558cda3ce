"""Files by their ending, the command `plot`."""

import os
import re

import numpy as np
import pytest
from made_points import clusters, folder

from supcrd.errors import SupcrdError
from supcrd.figures import style
from supcrd.figures.draw import plot
from supcrd.figures.registry import FIGURES, find_kind
from typed import invoke, refused


def test_drawing_leaves_no_trace_in_matplotlib(tmp_path):
    import matplotlib
    from matplotlib import _pylab_helpers

    before = dict(matplotlib.rcParams)
    plot("hypersphere", [folder(tmp_path)], tmp_path / "a.svg")
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs


STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype html>"}


@pytest.mark.parametrize(("kind", "ending"), [("hypersphere", ending) for ending in STARTS] + [("alignment", "html")])
def test_the_ending_chooses_the_format_and_the_same_bytes_come_again(tmp_path, kind, ending):
    run = folder(tmp_path)
    files = [tmp_path / f"{name}.{ending}" for name in ("a", "a2")]
    for file in files:
        assert invoke("plot", kind, run, "--out", file, "--theme", "dark").exit_code == 0
    first, second = (file.read_bytes() for file in files)
    assert first.startswith(STARTS[ending])
    assert first.replace(b"<title>a</title>", b"") == second.replace(b"<title>a2</title>", b"")
    assert sorted(os.listdir(tmp_path)) == sorted(["run", *(file.name for file in files)])


def test_ids_of_two_drawings_on_one_page_differ_and_are_all_found(tmp_path):
    from supcrd.figures.kinds import hypersphere
    from supcrd.figures.points import read_points

    figure = hypersphere.draw([read_points(folder(tmp_path))])
    texts = [style.svg_text(figure, name) for name in ("a", "b")]
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    assert ids[0]
    assert not ids[0] & ids[1]
    for own, text in zip(ids, texts, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= own


def test_a_failed_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    run, file = folder(tmp_path), tmp_path / "a.png"
    file.write_bytes(b"old")

    def half(self, path, **_):
        path.write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    assert "No space left" in refused("plot", "alignment", run, "--out", file)
    assert file.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.png", "run"]


def test_mistakes_are_one_line(tmp_path):
    run, out = folder(tmp_path), tmp_path / "a.png"
    assert ".png, .svg, .pdf or .html" in refused("plot", "tsne", run, "--out", tmp_path / "a.jpg")
    assert "no kind of figure 'tnse'; did you mean tsne? Valid: alignment, " in refused(
        "plot", "tnse", run, "--out", out
    )
    assert "no theme 'black'" in refused("plot", "tsne", run, "--out", out, "--theme", "black")
    assert "takes 1 run, not 2" in refused("plot", "alignment", run, run, "--out", out)
    assert "takes 1 to 2 runs, not 3" in refused("plot", "tsne", run, run, run, "--out", out)
    assert "which file?" in refused("plot", "tsne", run)
    assert "which runs?" in refused("plot", "tsne", "--out", out)
    assert "there is no folder" in refused("plot", "tsne", run, "--out", tmp_path / "none" / "a.png")
    assert "hypersphere has no --classes" in refused("plot", "hypersphere", run, "--out", out, "--classes", "a")
    assert "no class 'class 9'" in refused("plot", "tsne", run, "--out", out, "--classes", "class 9")
    assert "named twice" in refused("plot", "alignment", run, "--out", out, "--classes", "class 1,class 1")
    assert "at most 4" in refused("plot", "alignment", run, "--out", out, "--classes", "a,b,c,d,e")
    assert str(tmp_path / "no") in refused("plot", "alignment", tmp_path / "no", "--out", out)
    assert not out.exists()


def test_the_kinds_are_listed():
    told = invoke("plot", "list").stdout
    assert all(name in told and find_kind(name).help in told for name in FIGURES)


@pytest.mark.parametrize("kind", ["alignment", "hypersphere", "tsne"])
def test_collapsed_projections_are_named_not_drawn(tmp_path, kind):
    projections, labels, logits = clusters(30)
    made = folder(tmp_path, projections=np.ones_like(projections), labels=labels, logits=logits)
    assert "point the same way" in refused("plot", kind, made, "--out", tmp_path / "a.png")


def test_an_unknown_theme_is_named():
    with pytest.raises(SupcrdError, match="light, dark"):
        style.theme("")
