"""Palettes by the published model of colour blindness, files by their ending, the command `plot`."""

import itertools
import os
import re

import numpy as np
import pytest
from made_points import clusters, folder

from supcrd.errors import SupcrdError
from supcrd.plots import style
from supcrd.plots.kinds import KINDS, plot
from supcrd.plots.superclasses import SUPERCLASSES, order
from typed import invoke, refused

# G. Machado et al. 2009, severity 1: what linear RGB becomes
BLIND = {
    "nobody": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colors):
    values = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear sRGB, by its definition."""
    xyz = (
        np.clip(rgb, 0, 1)
        @ np.array(
            [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
        ).T
    )
    ratio = xyz / [0.95047, 1.0, 1.08883]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def closest(colors, matrix):
    return min(
        float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab(linear(colors) @ np.array(matrix).T), 2)
    )


def contrast(a, b):
    dark, light = sorted(float(linear([color])[0] @ [0.2126, 0.7152, 0.0722]) for color in (a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("count", "marker", "least"), [(10, "o", 15), (20, "o", 15), (20, "^", 6)])
@pytest.mark.parametrize("blind", list(BLIND))
def test_no_two_classes_of_one_marker_look_alike(count, marker, least, blind):
    colors = [look.color for look in style.palette(count) if look.marker == marker]
    assert len(colors) == 10
    assert closest(colors, BLIND[blind]) > least  # a difference of 2.3 is just noticed


def test_of_a_hundred_neighbouring_groups_differ_in_hue_and_members_in_lightness_and_marker():
    looks = style.palette(100)
    assert len(set(looks)) == 100
    for group in range(20):
        members = looks[5 * group : 5 * group + 5]
        lightness = lab(linear([look.color for look in members]))[:, 0]
        assert (np.diff(lightness) > 5).all()
        assert len({look.marker for look in members}) == 5
    hues = [np.arctan2(b, a) for _, a, b in lab(linear([looks[5 * group + 2].color for group in range(20)]))]
    apart = np.abs(np.angle(np.exp(1j * np.diff(hues))))
    assert apart.min() > 1.2  # radians


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK], ids=lambda theme: theme.name)
def test_text_and_classes_are_seen_on_the_background(theme):
    assert contrast(theme.ink, theme.background) > 10
    assert contrast(theme.muted, theme.background) > 4.5
    assert contrast(theme.accent, theme.background) > 3
    for look in style.palette(100):
        assert contrast(look.color, theme.background) > 1.5


@pytest.mark.parametrize("count", [0, 1, 11, 20, 21, 37, 250])
def test_a_palette_has_a_look_for_each(count):
    assert len(style.palette(count)) == count


def test_cifar100_is_ordered_by_superclass():
    names = sorted(name for members in SUPERCLASSES.values() for name in members)
    assert len(set(names)) == 100
    found = order(names)
    assert sorted(found.classes) == list(range(100))
    assert [names[number] for number in found.classes[10:15]] == ["orchid", "poppy", "rose", "sunflower", "tulip"]
    assert found.groups[2] == "flowers"
    looks = style.looks(names)
    assert looks[names.index("orchid")] == style.palette(100)[10]


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
    from supcrd.plots import hypersphere
    from supcrd.plots.points import read_points

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
    assert "no kind of figure 'tnse'; choose one of tsne, " in refused("plot", "tnse", run, "--out", out)
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
    assert all(name in told and kind.help in told for name, kind in KINDS.items())


@pytest.mark.parametrize("kind", ["alignment", "hypersphere", "tsne"])
def test_collapsed_projections_are_named_not_drawn(tmp_path, kind):
    projections, labels, logits = clusters(30)
    made = folder(tmp_path, projections=np.ones_like(projections), labels=labels, logits=logits)
    assert "point the same way" in refused("plot", kind, made, "--out", tmp_path / "a.png")


def test_an_unknown_theme_is_named():
    with pytest.raises(SupcrdError, match="light, dark"):
        style.theme("")
