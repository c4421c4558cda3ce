"""The pictures of docs/: what they show is right, all are drawn, and pages embed all of them with words."""

import importlib
import math
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from supcrd.losses import lw_supcrd

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EMBEDDED = [
    (page.name, words, target)
    for page in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
]


@pytest.fixture(scope="module")
def pictures():
    pytest.importorskip("matplotlib")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("pictures")


def test_all_are_drawn(pictures, tmp_path):
    for name, draw in pictures.PICTURES.items():
        pictures.save(draw(pictures.LIGHT), tmp_path / f"{name}.svg")
        text = (tmp_path / f"{name}.svg").read_text()
        assert ElementTree.fromstring(text).get("viewBox", "").startswith("0 0 283.46")  # points: 100 mm
        assert len(text) < 150_000


def test_dark_ones_differ_in_their_colours_only(pictures, tmp_path):
    pictures.save_both(pictures.draw_budget, tmp_path / "a.svg")
    light, dark = (re.split("(#[0-9a-f]{6})", (tmp_path / name).read_text()) for name in ("a.svg", "a-dark.svg"))
    assert light[::2] == dark[::2]
    assert set(light[1::2]).isdisjoint(dark[1::2])


def test_pages_embed_every_picture_with_words_for_those_who_do_not_see_it(pictures):
    files = {path.name for path in (DOCS / "figures").iterdir()}
    light = {Path(target).name for _, _, target in EMBEDDED}
    assert files == light | {name.replace(".svg", "-dark.svg") for name in light}
    assert {f"{name}.svg" for name in pictures.PICTURES} < light
    assert not [(page, target) for page, words, target in EMBEDDED if len(words) < 60]


@pytest.mark.parametrize("own", [None, 0.1, 0.9])
def test_weights_are_those_of_the_loss(pictures, own):
    """At equal similarities, of a candidate of each class: exp(L) - 1 is push over pull."""
    mine = own or 0.5  # where adaptive beta is beta
    other = 0.7 * (1 - mine)
    logits = torch.tensor([[mine, other, 1 - mine - other]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    loss = lw_supcrd(
        torch.tensor([[1.0, 0.0]], dtype=torch.float64), teacher, torch.tensor([0]), logits,
        candidate_labels=torch.tensor([0, 1]), beta=1.0, adaptive=own is not None,
    )  # fmt: skip
    pull, push = pictures.pull_and_push(np.array([mine, other]), own)
    assert math.expm1(loss.item()) == pytest.approx(push[1] / pull[0])


@pytest.mark.parametrize("opinion", [(0.9, 0.05, 0.05), (0.3, 0.65, 0.05)])
def test_arrows_are_the_slope_of_the_formula(pictures, opinion):
    def loss(angle):
        pull, push = 0.0, 0.0
        for label, places in enumerate(pictures.TEACHER):
            for place in places:
                kernel = math.exp(math.cos(math.radians(angle - place)) / 0.3)
                if label == 0:
                    pull += opinion[0] * kernel
                else:
                    push += 10 / (opinion[0] + 0.5) * (1 - opinion[label]) * kernel
        return -math.log(pull / (pull + push))

    degrees, step = np.array([10.0, 70.0, 120.0, 250.0]), 1e-4
    slope = [(loss(angle + step) - loss(angle - step)) / math.radians(2 * step) for angle in degrees]
    assert pictures.descent(degrees, opinion) == pytest.approx(-np.array(slope), rel=1e-5)
    angles = np.arange(45, 135, 0.1)
    assert pictures.rest(opinion) == pytest.approx(angles[np.argmin([loss(angle) for angle in angles])], abs=0.2)


def test_the_page_of_losses_says_how_far_the_resting_place_moves(pictures):
    sure, doubting = (pictures.rest(opinion) for opinion in pictures.OPINIONS.values())
    (moved,) = re.findall(r"rests (\d+) degrees nearer", (DOCS / "losses.md").read_text())
    assert round(sure - doubting) == int(moved)


def test_alignment_and_uniformity_are_those_of_loops_and_of_the_page(pictures):
    page = (DOCS / "measures.md").read_text()
    for name, spread in pictures.spreads().items():
        angles = np.radians(spread.degrees)
        pairs = [(i, j) for i in range(len(angles)) for j in range(i)]
        squared = {(i, j): 2 - 2 * math.cos(angles[i] - angles[j]) for i, j in pairs}
        same = [squared[i, j] for i, j in pairs if spread.labels[i] == spread.labels[j]]
        assert spread.alignment == pytest.approx(np.mean(same))
        assert spread.uniformity == pytest.approx(math.log(np.mean([math.exp(-2 * d) for d in squared.values()])))
        said = f"alignment {pictures.shown(spread.alignment)}, uniformity {pictures.shown(spread.uniformity)}"
        assert re.search(f"{name}: [^:]*{said}", page, re.IGNORECASE)
    assert f"uniformity of {pictures.shown(-4 + math.log(np.i0(4)))}" in page  # the mean over all angles


def test_views_are_what_the_caption_says(pictures):
    image, other = pictures.photographs().astype(float) / 255
    drawn = pictures.views(pictures.photographs())
    again = pictures.views(pictures.photographs())
    assert all((drawn[name] == again[name]).all() for name in drawn)
    assert {name: len(tiles) for name, tiles in drawn.items()} == {"weak": 3, "strong": 4, "mixup": 1, "cutmix": 2}
    share = ((drawn["mixup"][0] - other) * (image - other)).sum() / ((image - other) ** 2).sum()
    assert 0.1 < share < 0.9
    assert drawn["mixup"][0] == pytest.approx(share * image + (1 - share) * other, abs=1e-5)
    for tile in drawn["cutmix"]:
        own = np.isclose(tile, image, atol=1e-6).all(axis=2)
        assert 0.1 < own.mean() < 0.99
        assert tile[~own] == pytest.approx(other[~own], abs=1e-6)
    page = (DOCS / "views.md").read_text()
    for key in ("crop_padding = 6", "crop_scale = [0.4, 1.0]", "randaugment = 2", "erasing = 0.5", "mixup = 1.0"):
        name, _, value = key.partition(" = ")
        assert f"`{key}`" in page
        assert value in {
            str(getattr(group, name)).replace("(", "[").replace(")", "]") for group in pictures.SETTINGS.values()
        }


def test_steps_of_a_budget_are_those_of_the_loader():
    from supcrd.data.order import index_batches

    page = (DOCS / "views.md").read_text()
    rows = re.findall(r"^\| (\d) \| (\d+) \| 240 \| ([\d,]+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert [row[0] for row in rows] == ["1", "2", "4"]
    for views, epochs, seen, steps in rows:
        assert int(views) * int(epochs) == 240
        assert int(seen.replace(",", "")) == 240 * 45_000
        assert int(steps.replace(",", "")) == int(epochs) * len(index_batches(45_000, 64, seed=0, epoch=0))


def test_a_dark_page_has_the_dark_picture(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS / "_site"))
    directives = importlib.import_module("directives")
    nodes, document = directives.nodes, importlib.import_module("docutils.utils").new_document("page")
    document.settings.env = SimpleNamespace(srcdir=DOCS)
    for uri in ("figures/views.svg", "figures/none.svg"):
        document += nodes.paragraph("", "", nodes.image(uri=uri, alt="words"))
    directives.Grounds(document).apply()
    shown = [(image["uri"], image["classes"], image["alt"]) for image in document.findall(nodes.image)]
    assert shown == [
        ("figures/views.svg", ["picture", "only-light"], "words"),
        ("figures/views-dark.svg", ["picture", "only-dark"], "words"),
        ("figures/none.svg", [], "words"),
    ]
