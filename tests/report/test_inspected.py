"""The data of runs on their page: numbers put there by hand, and nothing that is fetched."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from made import make
from supcrd.report import report
from supcrd.report.collect import collect
from supcrd.report.inspected import inspected
from typed import invoke

NAMES = ("<b>cat</b>", "dog\x1b[2J")


@pytest.fixture
def photos(tmp_path):
    """train: 3 and 2 images; test: 1 and 2, one of them equal to one of train; one file is no image."""
    random = np.random.default_rng(0)
    for split, counts in (("train", (3, 2)), ("test", (1, 2))):
        for name, count in zip(("<b>cat<", "dog"), counts, strict=True):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for at in range(count):
                Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{at}.png")
    train, test = tmp_path / "photos/train", tmp_path / "photos/test"
    (test / "dog/1.png").write_bytes((train / "<b>cat</0.png").read_bytes())
    (train / "dog/<img src=x onerror=owned=1>.png").write_bytes(b"nothing")
    return tmp_path / "photos"


def run_on(out, source, **evaluation):
    make(out, "run", 0, 0.8, f"data.source={source}", **evaluation)
    (data,) = collect([out]).sets
    return data


def test_a_section_says_what_was_put_there(tmp_path, photos):
    html = inspected(run_on(tmp_path / "runs", f"folder:{photos}", class_counts=[1, 2]))
    assert "8 images (5 train, 3 test), 2 classes" in html
    assert "1.5: the largest class of train over its smallest" in html
    assert "20 x 20 px, all of them" in html
    assert "8 RGB" in html
    assert "<b>LEAK: test has 1 image equal to one of train</b>" in html
    cells = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', html)
    assert cells == [("&lt;b&gt;cat&lt;", "3", "1"), ("dog", "2", "2")]
    assert "&lt;img src=x onerror=owned=1&gt;.png" in html  # cannot be read
    assert "not the data that they saw" not in html
    sizes = []
    for text in re.findall(r'<img src="data:image/png;base64,(.*?)"', html):
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            sizes.append(picture.size)
    assert sizes == [(3 * 64 + 2 * 2, 64), (2 * 64 + 2, 64)]


def test_data_that_changed_since_are_said(tmp_path, photos):
    html = inspected(run_on(tmp_path / "runs", f"folder:{photos}", class_counts=[1, 3]))
    assert "The runs measured 4 test images in 2 classes, and now there are 3 in 2" in html


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "shards:https://me:secret@example.invalid/a.tar?signature=secret",
            "https://example.invalid/a.tar lies elsewhere",
        ),
        ("hf:somebody/pictures", "lies elsewhere, and a report fetches nothing"),
        ("cifar100", "lies elsewhere, and a report fetches nothing"),
        ("folder:/nowhere/at/all", "The data cannot be looked at: "),
        ("theirs:x", "unknown data source"),
    ],
)
def test_what_is_not_here_is_a_note_and_nothing_is_fetched(tmp_path, source, said, monkeypatch):
    def asked(*args, **kwargs):
        raise AssertionError("asked for something")

    monkeypatch.setattr("socket.socket.connect", asked)
    data = run_on(tmp_path / "runs", source)
    html = inspected(data)
    assert html.startswith('<p class="note">')
    assert said in html
    assert "secret" not in html


def test_the_command_has_it_where_it_is_asked_for(tmp_path, no_figures):
    make(tmp_path / "runs", "run", 0, 0.8, class_counts=[36, 36, 35, 37, 36, 37, 36, 36, 35, 35])
    out = tmp_path / "report.html"
    assert "The data</h2>" not in report([tmp_path / "runs"], out).read_text()
    result = invoke("report", tmp_path / "runs", "--inspect", "--out", out)
    assert result.exit_code == 0, result.output
    text = out.read_text()
    assert "The data</h2>" in text
    assert "1,797 images (1,438 train, 359 test), 10 classes" in text
    assert text.count('<img src="data:image/png') == 10
