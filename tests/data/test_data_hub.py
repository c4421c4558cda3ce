"""Sets that Hugging Face's `datasets` itself wrote to a folder or gives from the hub."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from supcrd.data import load
from supcrd.data.sources.hub import parsed
from supcrd.errors import DataError

NAMES = ["red", "green", "blue"]


def pixels(index: int) -> np.ndarray:
    values = np.random.default_rng(index).integers(0, 60, (8, 8, 3), dtype=np.uint8)
    values[..., index % 3] += 150
    return values


def part(start: int, stop: int) -> Any:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    columns = {"image": [Image.fromarray(pixels(i)) for i in range(start, stop)],
               "label": [i % 3 for i in range(start, stop)]}  # fmt: skip
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture(scope="module")
def whole() -> Any:
    datasets.disable_progress_bars()
    return datasets.DatasetDict({"train": part(0, 12), "test": part(100, 106), "extra": part(0, 3)})


@pytest.fixture
def saved(whole: Any, tmp_path: Path) -> Path:
    whole.save_to_disk(tmp_path / "saved", num_shards={"train": 3, "test": 1, "extra": 1})
    return tmp_path / "saved"


def check(data: Any) -> None:
    assert data.class_names == tuple(NAMES)
    np.testing.assert_array_equal(data.train.images[:], [pixels(i) for i in range(12)])
    np.testing.assert_array_equal(data.test.images[:], [pixels(i) for i in range(100, 106)])
    assert data.train.labels.tolist() == [i % 3 for i in range(12)]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_saved_set(saved: Path, streamed: bool, caplog: pytest.LogCaptureFixture) -> None:
    check(load(f"parquet:{saved}", validation=0, image_size=8, stream=streamed))
    assert "left out: split 'extra'" in caplog.text
    assert len(load(f"parquet:{saved / 'test'}", validation=0, require_train=False).train) == 6  # one split by itself


def test_a_choice_of_rows_is_saved_as_such(whole: Any, tmp_path: Path) -> None:
    whole["train"].select([7, 3, 2]).save_to_disk(tmp_path / "few")
    np.testing.assert_array_equal(load(f"parquet:{tmp_path / 'few'}", validation=0).train.images[:],
                                  [pixels(i) for i in (7, 3, 2)])  # fmt: skip


def test_parquet_that_datasets_wrote(whole: Any, tmp_path: Path) -> None:
    for name in ("train", "test"):
        whole[name].to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
    check(load(f"parquet:{tmp_path}", validation=0))


def test_a_damaged_saved_set_is_named(saved: Path) -> None:
    path = saved / "train" / "data-00001-of-00003.arrow"
    content = path.read_bytes()
    for wrong in (content[:-8], content[: len(content) // 2], b"", b"x" * 500):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=r"data-00001-of-00003.arrow: damaged or cut short"):
            load(f"parquet:{saved}")
    path.unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00003.arrow: cannot be read"):
        load(f"parquet:{saved}")
    state = saved / "train" / "state.json"
    for wrong, said in (
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "names no data files"),
        (json.dumps({"_data_files": [{"filename": "../../secret.arrow"}]}), "an .arrow file beside it is right"),
    ):
        state.write_text(wrong)
        with pytest.raises(DataError, match=said):
            load(f"parquet:{saved}")


def test_a_set_of_the_hub(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(path: str, config: str | None, revision: str | None) -> Any:
        asked.append((path, config, revision, datasets.config.HF_HUB_OFFLINE))
        return whole

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *arguments, **options: None)
    check(load("hf:owner/name:small@v1", validation=0))
    assert asked == [("owner/name", "small", "v1", False)]


def test_groups_are_a_column(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Persons whose names a ClassLabel has; the same from the hub as from a folder."""
    people = datasets.ClassLabel(names=[f"person {number}" for number in range(6)])
    of_train = part(0, 12).add_column("person", [place % 4 for place in range(12)]).cast_column("person", people)
    of_test = part(100, 106).add_column("person", [4, 5] * 3).cast_column("person", people)
    whole = datasets.DatasetDict({"train": of_train, "test": of_test})
    whole.save_to_disk(tmp_path / "grouped")
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **options: whole)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *arguments, **options: None)
    for source in ("hf:owner/name", f"parquet:{tmp_path / 'grouped'}"):
        data = load(source, validation=0, groups="person")
        check(data)
        assert data.train.groups.tolist() == [place % 4 for place in range(12)]
        assert data.test.groups.tolist() == [4, 5] * 3
    with pytest.raises(DataError, match=r"hf:owner/name: train: data\.groups = 'patient': no such column among image"):
        load("hf:owner/name", groups="patient")


def test_without_a_network_it_is_said_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library's own offline mode, with nothing kept."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"the hub cannot be reached, and no copy .* save_to_disk .* parquet:FOLDER"):
        load("hf:nobody-of-that-name/nothing-of-that-name")
    assert not datasets.config.HF_HUB_OFFLINE
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs datasets, which is not installed: pip install 'supcrd\[hf\]'"):
        load("hf:owner/name")


def test_names_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("../up", "/abs/path", "a/b/c", "a b", "a:b:c", "./x"):
        with pytest.raises(DataError, match="OWNER/NAME"):
            parsed(text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DataError, match="mnist is a file or folder here; parquet:mnist"):
        parsed("mnist")
