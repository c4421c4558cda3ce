"""Shards in WebDataset's format, in memory and streamed; what is wrong with one is said in one line."""

import importlib.util
import io
import json
import resource
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd.data import load
from supcrd.data.loader import ViewBatches
from supcrd.errors import DataError
from supcrd.recipe.settings import AugmentSettings
from typed import NET, TIMES, invoke, refused

# A set is a list of (member name, content); the webdataset package writes the same where it is installed.
WRITERS = ["tarfile", *(["webdataset"] if importlib.util.find_spec("webdataset") else [])]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def encoded(seed: int, kind: str = "png", size: tuple[int, int] = (8, 8), bright: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 60, (*size, 3), dtype=np.uint8)
    pixels[..., bright] += 150
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, {"jpg": "jpeg"}.get(kind, kind))
    return stream.getvalue()


def write(path: Path, members: list[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_webdataset(path: Path, members: list[tuple[str, bytes]]) -> Path:
    import webdataset

    samples: dict[str, dict[str, object]] = {}
    for name, content in members:
        key, _, kind = name.partition(".")
        samples.setdefault(key, {"__key__": key})[kind] = int(content) if kind == "cls" else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for sample in samples.values():
            writer.write(sample)
    return path


def members(start: int, stop: int) -> list[tuple[str, bytes]]:
    """Samples of three classes; label first, as webdataset sorts them."""
    made = []
    for index in range(start, stop):
        kind = ("jpg", "png", "webp", "jpeg")[index % 4]
        content = encoded(index, "jpg" if kind == "jpeg" else kind, (8 + index % 3, 8 + index % 2), index % 3)
        made += [(f"{index:05d}.cls", b"%d" % (index % 3)), (f"{index:05d}.{kind}", content)]
    return made


@pytest.fixture(params=WRITERS)
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """36 train images in three shards, 9 test images in one."""
    writer = {"tarfile": write, "webdataset": write_webdataset}[request.param]
    for number in range(3):
        writer(tmp_path / "set" / f"train-{number:06d}.tar", members(12 * number, 12 * number + 12))
    writer(tmp_path / "set" / "test-000000.tar", members(100, 109))
    return tmp_path / "set"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same images as files, in folders whose order is that of the labels."""
    for split, numbers in (("train", range(36)), ("test", range(100, 109))):
        for name, content in [pair for i in numbers for pair in members(i, i + 1) if not pair[0].endswith("cls")]:
            path = tmp_path / "folder" / split / str(int(name[:5]) % 3) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return tmp_path / "folder"


@pytest.mark.parametrize("streamed", [False, True])
def test_shards_hold_what_a_folder_of_the_same_files_holds(shards: Path, folder: Path, streamed: bool) -> None:
    expected = load(f"folder:{folder}", validation=0, image_size=8)
    data = load(f"shards:{shards}", validation=0, image_size=8, stream=streamed)
    assert data.class_names == expected.class_names == ("0", "1", "2")
    assert data.validation is None
    for split, first in (("train", 0), ("test", 100)):
        found, known = getattr(data, split), getattr(expected, split)
        labels = (torch.arange(first, first + len(known)) % 3).tolist()  # in the order of the shards
        assert found.labels.tolist() == labels
        by_class = torch.argsort(found.labels, stable=True)  # in the order of the folder
        assert torch.equal(found.images[:][by_class], known.images)


def test_batches_are_those_in_memory_and_go_on_at_any_step(shards: Path) -> None:
    sets = [load(f"shards:{shards}", image_size=8, stream=streamed) for streamed in (False, True)]
    settings, cpu = AugmentSettings(), torch.device("cpu")
    memory, streamed = (ViewBatches(data.train, settings, batch_size=5, seed=1, device=cpu) for data in sets)
    for start in (0, 3):
        batches = list(zip(memory.epoch(2, start), streamed.epoch(2, start), strict=True))
        assert len(batches) == memory.steps - start
        for a, b in batches:
            assert all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
    assert torch.equal(sets[0].validation.images, sets[1].validation.images[:])
    assert sets[0].fingerprint != sets[1].fingerprint


@pytest.mark.parametrize("format", FORMATS)
def test_names_of_every_kind(tmp_path: Path, format: int) -> None:
    """A key ends at the first dot of the last part; other members, directories and hidden files are of no sample."""
    long = "d" * 90 + "/" + "e" * 90
    made = [
        (f"{long}.PNG", encoded(0)),
        (f"{long}.cls", b" 1\n"),
        ("a.b/c.cls", b"0"),
        ("a.b/c.txt", b"a caption"),
        ("a.b/c.seg.png", b"a mask"),
        ("a.b/._c.png", b"what macOS adds"),
        ("./.hidden.png", b""),
        ("README", b""),
        ("a.b/c.png", encoded(1)),
        ("z/c.json", json.dumps({"label": 1, "caption": "c"}).encode()),
        ("z/c.jpg", encoded(2, "jpg")),
        ("y.cls", b"0"),
        ("y.json", b'{"label": 7}'),  # .cls goes before it
        ("y.png", encoded(3)),
        ("x.json", b'{"label": 9}'),
        ("x.cls", b"+1"),
        ("x.png", encoded(4)),
    ]
    if format != tarfile.USTAR_FORMAT:
        made += [("über/ö.png", encoded(5)), ("über/ö.cls", b"0")]
    path = write(tmp_path / "train.tar", made, format)
    with tarfile.open(path, "a", format=format) as tar:
        directory = tarfile.TarInfo("a.png")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
    data = load(f"shards:{tmp_path}", validation=0)
    assert data.train.labels.tolist() == [1, 0, 1, 0, 1, 0][: 5 + (format != tarfile.USTAR_FORMAT)]
    for index in (0, 1, 3, 4):
        expected = np.asarray(Image.open(io.BytesIO(encoded(index))))
        np.testing.assert_array_equal(data.train.images[index].numpy(), expected)


def test_class_names_and_splits(shards: Path) -> None:
    (shards / "classes.txt").write_text("cat\ndog\r\nhen house\n\n")
    (shards / "notes.tar").write_text("of no split")
    write(shards / "validation-0.tar", members(50, 53))
    data = load(f"shards:{shards}", image_size=8)
    assert data.class_names == ("cat", "dog", "hen house")
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 3, 9)
    for file in shards.glob("train*"):
        file.unlink()
    with pytest.raises(DataError, match="no train shard"):
        load(f"shards:{shards}", image_size=8)
    assert load(f"shards:{shards}", image_size=8, require_train=False).train is None


def fails(folder: Path, *parts: str, image_size: int | None = 8, streamed: bool = True) -> None:
    with pytest.raises(DataError) as error:
        load(f"shards:{folder}", validation=0, image_size=image_size, stream=streamed)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


GOOD = [("1.png", encoded(1)), ("1.cls", b"1")]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([("2.png", encoded(2))], ("2.png has no label", "2.cls")),
        ([("2.png", encoded(2)), ("2.json", b'{"id": 3}')], ("2.png has no label",)),
        ([("2.cls", b"0")], ("sample '2' has label 2.cls but no image",)),
        ([("2.cls", b"0"), ("2.seg.png", encoded(2))], ("2.seg.png has no label", "needs 2.seg.cls")),
        ([("2.cls", b"0"), ("2.png", b""), ("2.jpg", b"")], ("2.jpg is a second image of sample '2'", "2.png")),
        ([("1.png", encoded(2))], ("1.png is a second image of sample '1'",)),
        ([("1.cls", b"0")], ("1.cls is a second label of its sample",)),
        ([("2.png", b""), ("2.cls", b"dog\nx")], ("2.cls holds b'dog\\nx'; an integer",)),
        ([("2.png", b""), ("2.cls", b"")], ("2.cls holds b''; an integer",)),
        ([("2.png", b""), ("2.cls", b"1.0")], ("2.cls holds b'1.0'",)),
        ([("2.png", b""), ("2.cls", b"9" * 5000)], ("2.cls holds b'9",)),
        ([("2.png", b""), ("2.cls", b"-1")], ("2.cls holds label -1; 0 or more",)),
        ([("2.png", b""), ("2.cls", b"2000000000")], ("a label is 2000000000", "only 3 images", "classes.txt")),
        ([("2.png", b""), ("2.json", b"[1]")], ("2.json is no JSON object",)),
        ([("2.png", b""), ("2.json", b'{"label": ')], ("2.json is no JSON object",)),
        ([("2.png", b""), ("2.json", b"[" * 100000)], ("2.json is no JSON object",)),
        ([("2.png", b""), ("2.json", b'{"label": "dog"}')], ("2.json: label is 'dog'",)),
        ([("2.png", b""), ("2.json", b'{"label": true}')], ("2.json: label is True",)),
        ([("2.png", b"no image"), ("2.cls", b"0")], ("2.png: not a readable image",)),
    ],
)
def test_a_bad_sample_is_named_with_its_shard(tmp_path: Path, bad: list[tuple[str, bytes]], said: tuple[str]) -> None:
    write(tmp_path / "train-0.tar", [("0.png", encoded(0)), ("0.cls", b"0")])
    path = write(tmp_path / "train-1.tar", [*GOOD, *bad])
    where = str(tmp_path) if "a label is" in said[0] else str(path)
    fails(tmp_path, where, *said)
    fails(tmp_path, where, *said, streamed=False)


def test_a_label_beyond_the_class_names_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tar", [("0.png", encoded(0)), ("0.cls", b"0"), *GOOD])
    (tmp_path / "classes.txt").write_text("only\n")
    fails(tmp_path, f"{path}: 1.cls holds label 1; 0 to 0", "classes.txt")
    for text, said in (("a\n\nb", "line 2 is empty"), ("a\nb\na", "line 3 names 'a' again"), ("\n", "names no class")):
        (tmp_path / "classes.txt").write_text(text)
        fails(tmp_path, str(tmp_path / "classes.txt"), said)
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\xfa")
    fails(tmp_path, str(tmp_path / "classes.txt"), "not UTF-8 text")
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    fails(tmp_path, "class 'c' has no train image")


def damaged(content: bytes) -> dict[str, tuple[bytes, str]]:
    second = tarfile.BLOCKSIZE + -(-len(encoded(0)) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE  # header and image
    header = content[:second] + b"x" * 100 + content[second + 100 :]
    return {
        "empty": (b"", "not an uncompressed tar file"),
        "no tar": (b"no tar " * 200, "not an uncompressed tar file"),
        "cut in an image": (content[: second - 300], "damaged"),
        "cut between members": (content[:second], "damaged or cut short"),
        "cut in a header": (content[: second + 100], "damaged"),
        "a header is noise": (header, f"damaged or cut short at byte {second}"),
        "nothing but zeros": (bytes(10240), "holds no image"),
    }


@pytest.mark.parametrize("way", damaged(bytes(4096)))
def test_a_damaged_shard_is_named(tmp_path: Path, way: str) -> None:
    path = write(tmp_path / "train-0.tar", [("0.png", encoded(0)), ("0.cls", b"0"), *GOOD])
    content, said = damaged(path.read_bytes())[way]
    path.write_bytes(content)
    fails(tmp_path, str(path), said)


def test_files_that_are_no_shards_are_named(tmp_path: Path) -> None:
    fails(tmp_path, "no train shard", str(tmp_path / "train-000000.tar"))
    path = write(tmp_path / "train.tar", [("0.png", encoded(0)), ("0.cls", b"0"), *GOOD])
    fails(path, str(path), "takes the folder of the tar files")
    fails(tmp_path / "nowhere", "no such folder")
    fails(tmp_path / "train-{000..146}.tar", "takes the folder", f"shards:{tmp_path}")
    for name, said in (("train-1.tar.gz", "no gzip"), ("train-1.tgz", "no gzip"), ("train-1.tar.zst", "unpack it")):
        shutil.copy(path, tmp_path / name)
        fails(tmp_path, str(tmp_path / name), said)
        (tmp_path / name).unlink()
    write(tmp_path / "val-0.tar", GOOD)
    write(tmp_path / "validation-0.tar", GOOD)
    fails(tmp_path, "both val*.tar and validation*.tar")
    with tarfile.open(path, "w:gz"):
        pass
    (tmp_path / "val-0.tar").unlink()
    fails(tmp_path, str(path), "not an uncompressed tar file")


def test_sizes_that_differ_need_image_size(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tar", [("0.png", encoded(0)), ("0.cls", b"0"), ("1.png", encoded(0, size=(9, 9)))])
    write(path, [("0.png", encoded(0)), ("0.cls", b"0"), ("1.png", encoded(1, size=(9, 9))), ("1.cls", b"1")])
    fails(tmp_path, f"{path}: 1.png: 9 x 9 px", "8 x 8", "data.image_size=N", image_size=None, streamed=False)
    assert load(f"shards:{tmp_path}", validation=0, image_size=5).image_size == 5


def test_a_shard_that_changes_while_it_is_used_is_named(shards: Path) -> None:
    train = load(f"shards:{shards}", image_size=8, stream=True).train
    path = sorted(shards.glob("train*"))[2]
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match="the shard ends before it") as error:
        train.images[:]
    assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        train.images[:]


def test_the_fingerprint_tells_members_and_not_the_place(shards: Path, tmp_path: Path) -> None:
    def told(folder: Path) -> str:
        return load(f"shards:{folder}", image_size=8, stream=True).fingerprint

    first = told(shards)
    shards = shards.rename(tmp_path / "moved")
    assert told(shards) == first
    seen = {first}
    path = shards / "test-000000.tar"
    for changed in (
        [*members(100, 108), ("00108.cls", b"1"), members(108, 109)[1]],  # another label
        [*members(100, 108), ("x.cls", b"0"), ("x.jpg", members(108, 109)[1][1])],  # another name
        members(100, 108),
        [("README", b"moves all that follows"), *members(100, 109)],
    ):
        write(path, changed)
        seen.add(told(shards))
    shutil.copy(shards / "train-000000.tar", shards / "train-000003.tar")
    seen.add(told(shards))
    assert len(seen) == 6


def test_more_shards_than_open_files(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / f"train-{number:03d}.tar", members(number, number + 1))
    train = load(f"shards:{tmp_path}", validation=0, image_size=8, stream=True).train
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, limits[1]))
    try:
        assert train.images[:].shape == (60, 8, 8, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_run_on_shards_streamed_and_in_memory(shards: Path, tmp_path: Path) -> None:
    kept = []
    for name, streamed in (("stream", "true"), ("memory", "false")):
        options = [f"data.source=shards:{shards}", "data.image_size=8", f"data.stream={streamed}", f"name={name}", *NET]
        result = invoke("train", "digits-teacher", *options, "--out", tmp_path / "runs")
        assert result.exit_code == 0, result.output
        values = json.loads((tmp_path / "runs" / name / "evaluation.json").read_text())
        kept.append({k: v for k, v in values.items() if k not in (*TIMES, "name", "data_fingerprint", "weights")})
    assert kept[0] == kept[1]
    assert kept[0]["n"] == 9


def test_a_bad_shard_ends_the_command_in_one_line(shards: Path, tmp_path: Path) -> None:
    path = write(shards / "train-000009.tar", [("2.png", encoded(2))])
    options = [f"data.source=shards:{shards}", "data.image_size=8", "data.stream=true", *NET]
    line = refused("train", "digits-teacher", *options, "--out", tmp_path / "runs")
    assert f"{path}: 2.png has no label" in line
    assert not (tmp_path / "runs").exists()


def test_keys_with_dots_are_read_up_to_the_last_one(tmp_path: Path) -> None:
    made = [(f"a/img.{n:03d}.{kind}", content) for n in range(3) for kind, content in
            (("cls", b"%d" % (n % 2)), ("png", encoded(n)))]  # fmt: skip
    write(tmp_path / "training-0.tar", [*made, *GOOD])
    write(tmp_path / "valid-0.tar", GOOD)
    data = load(f"shards:{tmp_path}")
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    for index in range(3):
        expected = np.asarray(Image.open(io.BytesIO(encoded(index))))
        np.testing.assert_array_equal(data.train.images[index].numpy(), expected)
    assert data.validation.labels.tolist() == [1]


def test_what_is_left_out_is_counted(tmp_path: Path, caplog) -> None:
    """Members of other kinds, and a tar file of no split."""
    content = io.BytesIO()
    Image.new("L", (8, 8), 9).save(content, "png")
    for name in ("train-0.tar", "extra-0.tar"):
        with tarfile.open(tmp_path / name, "w") as tar:
            for number in range(2):
                for ending, data in (("png", content.getvalue()), ("cls", b"%d" % number), ("txt", b"a caption")):
                    member = tarfile.TarInfo(f"{number:03}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    with caplog.at_level("WARNING", "supcrd"):
        assert len(load(f"shards:{tmp_path}", validation=0).train) == 2
    assert "left out: 2 .txt, 1 tar file of no split (extra-0.tar)" in caplog.text
