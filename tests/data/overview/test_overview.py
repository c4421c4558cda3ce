"""What `supcrd inspect` sees, against sets whose duplicates, damage and sizes were put there by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from supcrd.data.overview import duplicates as module
from supcrd.data.overview import look
from supcrd.data.overview.duplicates import Marks, equal, marks, near
from typed import invoke, refused


def scene(seed: int, size: int = 32) -> Image.Image:
    """A smooth picture, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def put(image: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train: 8 cats, 4 dogs; test: 2 of each. Two files are damaged; five images are like others."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(12):
        put(scene(i), folder / "train" / ("cat" if i < 8 else "dog") / f"{i:02d}.png")
    for i in range(100, 104):
        put(scene(i), folder / "test" / ("cat" if i < 102 else "dog") / f"{i}.png")
    put(scene(0), folder / "train/dog/again.png")  # equal, with another class
    put(scene(3), folder / "test/cat/leak.png")  # equal, in another split
    put(scene(5), folder / "test/cat/pressed.jpg", quality=60)  # near
    put(ImageEnhance.Brightness(scene(9)).enhance(0.7).resize((40, 40)), folder / "test/dog/darker.png")  # near
    put(scene(200).convert("L").resize((20, 30)), folder / "train/cat/grey.png")
    (folder / "train/cat/damaged.png").write_bytes(b"no image")
    whole = (folder / "train/cat/00.png").read_bytes()
    (folder / "test/dog/short.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def facts(folder: Path) -> dict[str, Any]:
    return look(f"folder:{folder}").facts


def test_counts_sizes_modes_and_damage(facts: dict[str, Any]) -> None:
    assert facts["splits"] == {"train": 14, "test": 7}
    assert facts["classes"] == {"cat": {"train": 9, "test": 4}, "dog": {"train": 5, "test": 3}}
    assert facts["imbalance"] == 9 / 5
    assert facts["sizes"] == {"smallest": [20, 30], "median": [32, 32], "largest": [40, 40], "different": 3}
    assert facts["modes"] == {"RGB": 20, "L": 1}
    assert facts["unreadable"]["count"] == 2
    assert [line.split(": ")[0].rpartition("/")[2] for line in facts["unreadable"]["first"]] == [
        "damaged.png",
        "short.png",
    ]


def test_duplicates_and_leaks(facts: dict[str, Any]) -> None:
    exact, close = facts["duplicates"]["exact"], facts["duplicates"]["near"]
    assert (exact["by"], exact["within"]) == ("bytes", {"train": 1})
    assert exact["across"] == [{"split": "test", "of": "train", "images": 1}]
    assert exact["of_another_class"] == 2

    def pairs(part: dict[str, Any]) -> list[list[str]]:
        return [[one["image"].rpartition("/")[2] for one in pair] for pair in part["pairs"]]

    assert pairs(exact) == [["03.png", "leak.png"], ["00.png", "again.png"]]
    assert (close["within"], close["of_another_class"]) == ({}, 0)
    assert close["across"] == [{"split": "test", "of": "train", "images": 2}]
    assert sorted(pairs(close)) == [["05.png", "pressed.jpg"], ["09.png", "darker.png"]]


def test_statistics_are_numpys(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (700, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.arange(700) % 2, test_images=images[:3],
             test_labels=np.arange(3) % 2)  # fmt: skip
    facts = look(f"npz:{tmp_path / 'a.npz'}").facts
    values = images.astype(np.float64) / 255
    np.testing.assert_allclose(facts["channels"]["mean"], values.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(facts["channels"]["std"], values.std((0, 1, 2)), rtol=1e-12)
    assert facts["duplicates"]["exact"]["across"] == [{"split": "test", "of": "train", "images": 3}]
    assert facts["duplicates"]["near"]["compared"] == 0  # 8 px


def test_the_hash_is_that_of_plain_loops() -> None:
    images = torch.stack([torch.from_numpy(np.asarray(scene(i, 144)).copy()) for i in range(3)])
    bits, slopes = marks(images)
    for image, row in zip(images.numpy().astype(np.float64), bits, strict=True):
        grey = image @ [0.299, 0.587, 0.114]
        small = [[grey[18 * y : 18 * y + 18, 16 * x : 16 * x + 16].mean() for x in range(9)] for y in range(8)]
        assert row.tolist() == [small[y][x + 1] > small[y][x] for y in range(8) for x in range(8)]
    np.testing.assert_allclose(np.linalg.norm(slopes.astype(np.float64), axis=1), 1, rtol=1e-3)
    assert not marks(torch.full((1, 16, 16, 1), 7, dtype=torch.uint8))[1].any()  # a flat image is like no other


def naive(known: Marks, splits: np.ndarray, farthest: int) -> tuple[dict, dict]:
    like: dict[tuple[int, int], set[int]] = {}
    for j in range(len(splits)):
        for i in range(j):
            distance = (known.bits[i] != known.bits[j]).sum()
            alike = known.slopes[i].astype(np.float64) @ known.slopes[j].astype(np.float64) >= module.ALIKE
            if distance <= farthest and alike and known.digests[i] != known.digests[j]:
                like.setdefault((splits[i], splits[j]), set()).add(j)
    counts = {key: len(rows) for key, rows in like.items()}
    return {a: n for (a, b), n in counts.items() if a == b}, {key: n for key, n in counts.items() if key[0] != key[1]}


def test_near_images_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    base = random.random((20, 64)) < 0.5
    bits = np.stack([base[random.integers(0, 20)] ^ (random.random(64) < rate) for rate in
                           random.permutation(np.linspace(0, 0.4, 150))])  # fmt: skip
    slopes = random.standard_normal((150, 480)) * 0.35 + random.standard_normal(480)
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
    known = Marks(bits, slopes.astype(np.float16), np.array([b"%16d" % i for i in range(150)]))
    splits, labels = np.repeat([0, 1, 2], 50), np.zeros(150, np.int64)
    monkeypatch.setattr(module, "BLOCK", 64)
    result, farthest, compared = near(known, splits, labels)
    assert (farthest, compared) == (module.FARTHEST, 150)
    assert (result.within, result.across) == naive(known, splits, farthest)
    assert len(result.across) == 3
    monkeypatch.setattr(module, "PAIRS", 0.2)
    result, farthest, _ = near(known, splits, labels)
    assert farthest < module.FARTHEST
    assert (result.within, result.across) == naive(known, splits, farthest)


def test_a_group_over_three_splits_counts_images() -> None:
    digests = np.array([b"a" * 16, b"b" * 16, b"a" * 16, b"a" * 16, b"a" * 16, b"b" * 16])
    known = Marks(np.zeros((6, 64), bool), np.zeros((6, 480), np.float16), digests)
    result = equal(known, np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0, 1]))
    assert result.within == {0: 1, 1: 1}
    assert result.across == {(0, 1): 2, (0, 2): 1}
    assert result.labels == 2  # those of b


def test_the_command_prints_a_page_json_and_a_picture(folder: Path, facts: dict[str, Any], tmp_path: Path) -> None:
    arguments = ["inspect", f"folder:{folder}", "--samples", tmp_path / "samples.png"]
    page = invoke(*arguments)
    assert page.exit_code == 0, page.output
    for text in (
        "21 images (14 train, 7 test), 2 classes",
        "imbalance   1.8",
        "20 x 30 to 40 x 40 px, median 32 x 32; 3 different; training needs one: data.image_size=N resizes and crops",
        "unreadable  2",
        "LEAK: test has 1 image equal to one of train",
        "LEAK: test has 2 images nearly equal to one of train",
        "10 bits or fewer",
    ):
        assert text in page.stdout
    with Image.open(tmp_path / "samples.png") as picture:
        assert (picture.format, picture.width) == ("PNG", 10 * (64 + 2))
    assert json.loads(invoke("inspect", f"folder:{folder}", "--json").stdout) == facts


def test_unlabelled_images_like_those_that_are_measured_on(folder: Path, facts: dict[str, Any], tmp_path: Path) -> None:
    """Of seven files one is a test image's, one a smaller JPEG of another, one of train; one is there twice."""
    (tmp_path / "more").mkdir()
    for i in range(3):
        put(scene(300 + i), tmp_path / f"more/{i}.png")
    (tmp_path / "more/copy.png").write_bytes((folder / "test/dog/102.png").read_bytes())
    put(scene(103).resize((28, 28)), tmp_path / "more/small.jpg", quality=70)
    (tmp_path / "more/twice.png").write_bytes((tmp_path / "more/0.png").read_bytes())
    (tmp_path / "more/train.png").write_bytes((folder / "train/cat/01.png").read_bytes())
    (tmp_path / "more/damaged.png").write_bytes(b"no image")
    arguments = ["inspect", f"folder:{folder}", "--unlabelled", f"folder:{tmp_path / 'more'}"]
    page = invoke(*arguments)
    assert page.exit_code == 0, page.output
    for line in (
        f"unlabelled  folder:{tmp_path / 'more'}: 7 images, 1 more cannot be read",
        "            LEAK: unlabelled has 1 image equal to one of test",
        "            unlabelled has 1 image equal to one of train",  # no leak
        "            unlabelled has 1 image equal to an earlier one of it",
        "            LEAK: unlabelled has 1 image nearly equal to one of test",
    ):
        assert line in page.stdout.splitlines()
    seen = json.loads(invoke(*arguments, "--json").stdout)
    assert {key: seen[key] for key in facts if key != "duplicates"} == {
        k: v for k, v in facts.items() if k != "duplicates"
    }
    last = next(pair for pair in seen["duplicates"]["near"]["pairs"] if pair[1]["split"] == "unlabelled")
    assert [one["image"].rpartition("/")[2] for one in last] == ["103.png", "small.jpg"]
    assert (last[0]["class"], last[1]["class"]) == ("dog", None)
    for kind in ("exact", "near"):  # no label is another label
        assert seen["duplicates"][kind]["of_another_class"] == facts["duplicates"][kind]["of_another_class"]


def test_unlabelled_images_of_a_set_without_splits(folder: Path, tmp_path: Path) -> None:
    page = invoke("inspect", f"folder:{folder / 'train'}", "--unlabelled", f"folder:{folder / 'test'}")
    assert "validation and test will be drawn from train: what is like one of it may be like one" in page.stdout
    assert "unlabelled has 2 images nearly equal to one of train" in page.stdout
    assert refused("inspect", f"folder:{folder}", "--unlabelled", f"folder:{tmp_path / 'no'}").startswith(
        f"error: --unlabelled folder:{tmp_path / 'no'}: "
    )


def test_mistakes_are_one_line(folder: Path, tmp_path: Path) -> None:
    assert "ends in .png" in refused("inspect", "digits", "--samples", tmp_path / "a.jpg")
    assert "no such folder" in refused("inspect", "digits", "--samples", tmp_path / "nowhere" / "a.png")
    assert "unknown data source 'nothing'" in refused("inspect", "nothing")
    assert "image_size = 0" in refused("inspect", f"folder:{folder}", "--image-size", "0")
