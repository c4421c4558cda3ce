"""The kinds of input: each takes a seeded generator, a folder for itself and the pristine files, and tries one."""

import io
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import damage as d
import numpy as np
from PIL import Image
from trial import command

from supcrd.data import load
from supcrd.data.sources.folder import read_image
from supcrd.models.weights import load_model
from supcrd.recipe import builtin_names, builtin_text
from supcrd.recipe.keys import all_keys
from typed import write_npz

NOWHERE = "data.source=npz:/nowhere/x.npz"
FORMATS = [("png", "RGB"), ("png", "L"), ("png", "I;16"), ("jpg", "RGB"), ("tif", "RGB"), ("tif", "F"), ("gif", "P"),
           ("webp", "RGB"), ("bmp", "RGB"), ("ppm", "RGB"), ("jp2", "LA"), ("tga", "RGBA"), ("pcx", "L")]  # fmt: skip
Kind = Callable[[random.Random, Path, Path], str | None]


def picture(r: random.Random, ending: str = "png", mode: str = "RGB") -> bytes:
    image = Image.fromarray(np.frombuffer(r.randbytes(8 * 8 * 3), np.uint8).reshape(8, 8, 3)).convert("RGB")
    made = io.BytesIO()
    via = image.convert("L") if mode in ("I;16", "F", "LA", "P") else image
    via.convert(mode).save(made, Image.registered_extensions()[f".{ending}"])
    return made.getvalue()


def recipes(r: random.Random, folder: Path, base: Path) -> str | None:
    """A recipe file and overrides; its data are never there, so that nothing is trained."""
    path = folder / "r.toml"
    content = builtin_text(r.choice(builtin_names()))
    for _ in range(r.choice([0, 1, 1, 3])):
        content = d.text(content, r)
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    keys = list(all_keys())
    changes = [f"{r.choice(keys)}={d.word(r)}" for _ in range(r.choice([0, 1, 1, 2, 4]))]
    if r.random() < 0.1:
        changes.append(d.word(r))
    return command("train", str(path), NOWHERE, *changes, *([] if changes else [NOWHERE]), "--out", str(folder / "out"))


def overrides(r: random.Random, folder: Path, base: Path) -> str | None:
    """One key of a built-in recipe, at a value of any kind."""
    change = f"{r.choice(list(all_keys()))}={r.choice(d.NUMBERS) if r.random() < 0.6 else d.word(r)}"
    data = [] if change.startswith("data.source") else [NOWHERE]
    if change in ("data.source=digits", "data.source="):
        return None
    return command("train", r.choice(builtin_names()), *data, change, "--out", str(folder / "out"))


def npz(r: random.Random, folder: Path, base: Path) -> str | None:
    """Bytes of an npz; what is accepted has to be what was written."""
    path = folder / "x.npz"
    shutil.copy(base / "tiny.npz", path)
    d.damage(path, r)
    read = load(f"npz:{path}", validation=0)
    whole = load(f"npz:{base / 'tiny.npz'}", validation=0)
    return None if read.fingerprint == whole.fingerprint else "damage is accepted in silence"


def arrays(r: random.Random, folder: Path, base: Path) -> str | None:
    """Arrays of an npz of any type and shape."""
    shape = tuple(r.choice([0, 1, 3, 8, 30]) for _ in range(r.choice([0, 1, 2, 3, 4, 5])))
    kind = r.choice(["u1", "i8", "f4", "f8", "c8", "U3", "S2", "?", "M8[s]", "u8", "i1"])
    name = r.choice(["train_images", "train_labels", "test_images", "test_labels", "class_names", "val_images"])
    array = np.zeros(shape, kind)
    if array.size and kind in ("i8", "u8"):
        array.flat[0] = r.choice([2**62, 255, 1])
    path = write_npz(folder / "x.npz", **{name: array})
    read = load(f"npz:{path}", validation=0)
    return None if read.train is not None and len(read.train) else "a set without images is accepted"


def pictures(r: random.Random, folder: Path, base: Path) -> str | None:
    """One picture of any format, damaged."""
    ending, mode = r.choice(FORMATS)
    path = folder / f"x.{ending}"
    path.write_bytes(d.damaged(picture(r, ending, mode), r))
    read = read_image(path, channels=r.choice([1, 3]), image_size=8)
    return None if read.shape[:2] == (8, 8) else f"a picture of {tuple(read.shape)}"


def folders(r: random.Random, folder: Path, base: Path) -> str | None:
    """A folder of pictures with something in it that does not belong there."""
    for number, name in enumerate(["train/a", "train/b", "test/a", "test/b"]):
        (folder / "set" / name).mkdir(parents=True)
        for index in range(2):
            (folder / "set" / name / f"{index}.png").write_bytes(picture(random.Random(number)))
    place = folder / "set" / r.choice(["", "train", "train/a", "test/b"])
    kind = r.randrange(7)
    if kind == 0:
        (place / "link.png").symlink_to(r.choice(["/nowhere", "/dev/zero", ".", "/etc/hostname"]))
    elif kind == 1:
        (place / r.choice(["new", "train", "c" * 200, "\x1b[2J", "é"])).mkdir(exist_ok=True)
    elif kind == 2:
        shutil.rmtree(place)
    elif kind == 3:
        (place / r.choice(["x.fli", "x.gif", "x.png", "x.svg", "x.eps"])).write_bytes(r.randbytes(200))
    elif kind == 4:
        d.damage(folder / "set/train/a/0.png", r)
    elif kind == 5:
        (folder / "set/train/a/0.png").write_bytes(b"")
    else:
        (place / "file.png").write_bytes(picture(r, *r.choice(FORMATS)))
    options = {
        "image_size": r.choice([None, 8, 9]),
        "stream": r.random() < 0.3,
        "damaged": r.choice(["refuse", "skip"]),
    }
    read = load(f"folder:{folder / 'set'}", validation=0, **options)
    if read.train is None:
        return "a set without images is accepted"
    read.train.images[:1]
    return None


def shards(r: random.Random, folder: Path, base: Path) -> str | None:
    """A tar file with odd labels, sizes and names, damaged or not."""
    path = folder / "train-0.tar"
    with tarfile.open(path, "w", format=r.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as tar:
        for number in range(6):
            label = str(number % 2) if r.random() < 0.9 else d.word(r)
            for name, content in ((f"{number}.png", picture(r)), (f"{number}.cls", label.encode("utf-8", "replace"))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                if r.random() < 0.03:
                    member.pax_headers = {"size": r.choice(d.NUMBERS)}
                if r.random() < 0.03:
                    member.type = r.choice([tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
                tar.addfile(member, io.BytesIO(content))
    if r.random() < 0.7:
        d.damage(path, r)
    read = load(f"shards:{folder}", validation=0, stream=r.random() < 0.3, image_size=8)
    labels = read.train.labels
    return None if labels.min() >= 0 and labels.max() < read.num_classes else f"labels of {labels.tolist()}"


def weights(r: random.Random, folder: Path, base: Path) -> str | None:
    """Bytes of a model's file."""
    source = r.choice([base / "convnet.pth", base / "resnet8.pth", base / "runs" / "student" / "model.safetensors"])
    path = folder / source.name
    shutil.copy(source, path)
    d.damage(path, r)
    load_model(path)
    return None


def run_folders(r: random.Random, folder: Path, base: Path) -> str | None:
    """A finished run with one of its files damaged, missing or a folder; read by every command that reads runs."""
    runs = shutil.copytree(base / "runs", folder / "runs")
    files = sorted(path for path in runs.rglob("*") if path.is_file())
    file = r.choice(files)
    kind = r.randrange(8)
    if kind == 0:
        file.unlink()
    elif kind == 1:
        file.unlink()
        file.mkdir()
    elif file.suffix in (".json", ".toml", ".jsonl") and kind < 6:
        content = d.text(file.read_text(), r)
        file.write_bytes(content.encode("utf-8", "surrogatepass"))
    else:
        d.damage(file, r)
    student = str(runs / "student")
    commands = [
        ["compare", str(runs)],
        ["compare", str(runs), "--json", "--metric", r.choice(["accuracy", "ece", "nosuch"])],
        ["teachers", str(runs), "--json"],
        ["predict", student, str(base / "image.png")],
        [
            "train",
            "digits-crd",
            f"data.source=npz:{base / 'tiny.npz'}",
            "name=student",
            "train.epochs=0",
            "--out",
            str(runs),
        ],
    ]
    return command(*r.choice(commands))


def lines(r: random.Random, folder: Path, base: Path) -> str | None:
    """Words behind a command."""
    known = {
        "recipes": ["--keys", "digits-kd", "train.", "teachers.x"],
        "train": ["--out", "--force", "--json", "--no-wait", "nosuch", "train.lr=1"],
        "evaluate": ["--data", "--split", "--arch", "--mean", "--std", "--image-size", "--classes", "--device", "cpu"],
        "predict": ["--arch", "--mean", "0.5", "--classes", "--image-size", "8", str(base / "image.png")],
        "compare": ["--baseline", "--metric", "--select", "--test", str(base / "runs"), "accuracy"],
        "teachers": ["--json", str(base / "runs")],
        "sweep": ["--dry-run", "--workers", "0"],
        "reproduce": ["--dry-run", "--tables", "main", "--seeds", "--recipe-set", "small", "--workers"],
        "distil": ["--data", "npz:/nowhere", "--student", "resnet8", "--teacher", "auto", "--epochs", "--minutes"],
    }
    name = r.choice([*known, d.word(r)])
    words = [r.choice(known[name]) if name in known and r.random() < 0.6 else d.word(r) for _ in range(r.randrange(6))]
    if name == "reproduce":
        words.append("--dry-run")
    if name == "train":  # a recipe that is there and complete would be trained
        words = [NOWHERE, *words] if r.random() < 0.5 else ["digits-kd", NOWHERE, *words, NOWHERE]
    return command(name, *words)


KINDS: dict[str, tuple[Kind, int]] = {
    "recipes": (recipes, 4), "overrides": (overrides, 4), "npz": (npz, 3), "arrays": (arrays, 2),
    "pictures": (pictures, 4), "folders": (folders, 3), "shards": (shards, 3), "weights": (weights, 2),
    "run folders": (run_folders, 3), "command lines": (lines, 4),
}  # fmt: skip
"""Name -> the kind, and how often it is tried."""
