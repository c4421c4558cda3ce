"""Paths that none can be, numbers that no type holds, labels of any size: each ends in one line that names it."""

import io
import tarfile
import tomllib
from typing import Annotated, Any, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel

from supcrd.errors import LINE, SupcrdError, one_line
from supcrd.recipe import builtin_names, builtin_text, load
from supcrd.recipe.settings import METHOD_SETTINGS, Recipe
from supcrd.runs.folder import RunFolder
from supcrd.training.objective.term import TERMS
from typed import NET, TEACHER, refused, student, teacher_from, write_npz

PATHS = ["~nosuchuser/x", "/a\0b", "/" + "x" * 10_000, "/d" * 5000]
KEYS = [
    "data.source=npz:{}",
    "data.source=folder:{}",
    "data.source=shards:{}",
    "data.classes={}",
    "teacher.recipe={}.toml",
]


def line_of(*arguments):
    line = refused(*arguments)
    assert len(line.removeprefix("error: ")) <= LINE
    return line


@pytest.mark.parametrize("path", PATHS, ids=["user", "NUL", "long name", "long path"])
@pytest.mark.parametrize("key", KEYS)
def test_what_no_path_can_be(base, tmp_path, key, path):
    line = line_of("train", "digits-crd", *student(base), key.format(path), "--out", tmp_path / "runs")
    assert any(word in line for word in ("no such user", "NUL character", "too long"))
    assert key.partition("=")[0] in line or "recipe" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("path", PATHS, ids=["user", "NUL", "long name", "long path"])
@pytest.mark.parametrize("key", ["run", "checkpoint"])
def test_a_teacher_at_what_no_path_can_be(base, tmp_path, key, path):
    recipe = teacher_from(tmp_path, f'{key} = "{path}"'.replace("\0", "\\u0000"))
    line = line_of("train", recipe, f"data.source=npz:{base / 'tiny.npz'}", *NET, "--out", tmp_path / "runs")
    assert f"teacher.{key}" in line


@pytest.mark.parametrize("path", [PATHS[0], *PATHS[2:]])
def test_other_paths_of_a_command(base, tmp_path, path):
    recipe = ["train", "digits-supcon", f"data.source=npz:{base / 'tiny.npz'}"]
    for arguments in (["train", f"{path}.toml"], [*recipe, "--out", path], [*recipe, f'plugins=["{path}.py"]'],
                      ["evaluate", path], ["compare", path], ["sweep", path]):  # fmt: skip
        line_of(*arguments)


def test_a_run_folder_of_no_user():
    with pytest.raises(SupcrdError, match="no such user"):
        RunFolder("~nosuchuser/run")


def shard(folder, *, label="0", size=None):
    folder.mkdir()
    with tarfile.open(folder / "train-0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (("0.png", b"x"), ("0.cls", label.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if size is not None and name == "0.cls":
                member.pax_headers = {"size": size}
            tar.addfile(member, io.BytesIO(content))
    return folder


@pytest.mark.parametrize("size", ["99999999999999", "-5"])
def test_a_member_that_is_said_to_be_huge(tmp_path, size):
    folder = shard(tmp_path / "set", size=size)
    line = line_of("train", "digits-supcon", f"data.source=shards:{folder}", *NET, "--out", tmp_path / "runs")
    assert "train-0.tar" in line
    assert "0.cls" in line or "damaged" in line


def test_a_label_beyond_int64(tmp_path):
    folder = shard(tmp_path / "set", label="9223372036854775808")
    line = line_of("train", "digits-supcon", f"data.source=shards:{folder}", *NET, "--out", tmp_path / "runs")
    assert "0.cls" in line


@pytest.mark.parametrize(
    ("recipe", "change", "right"),
    [
        ("digits-supcon", "data.image_size=1000000000", "8 to 4096"),
        ("digits-supcon", "augment.crop_padding=1000000000", "0 to 1024"),
        ("digits-supcon", "augment.crop_padding=9", "the images of npz:"),
        ("digits-supcon", "method.temperature=1e-300", "0.001 to 1000"),
        ("digits-kd", "method.temperature=1e300", "0.001 to 1000"),
        ("digits-kd", "method.name=dkd method.temperature=1e300", "0.001 to 1000"),
        ("digits-crd", "method.kd_weight=1e38", "0 to 1000000"),
        ("digits-crd", f"seed={2**63}", str(2**63 - 1)),
        ("digits-crd", "train.epochs=99999999999999999999999", "1 to 1000000"),
    ],
)
def test_numbers_that_make_no_sense(base, tmp_path, recipe, change, right):
    changes = [f"data.source=npz:{base / 'tiny.npz'}", *NET, *(TEACHER if recipe != "digits-supcon" else [])]
    line = line_of("train", recipe, *changes, *change.split(), "--out", tmp_path / "runs")
    assert right in line
    assert change.split()[-1].partition("=")[0] in line


def ends(annotation, bounds):
    """(type, whether both ends are given) of each number that a type allows."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        every = [part for one in more for part in getattr(one, "metadata", [one])]
        yield from ends(inner, [*bounds, *every])
    elif annotation in (int, float):
        low = any(isinstance(one, Ge | Gt) for one in bounds)
        yield annotation, low and any(isinstance(one, Le | Lt) for one in bounds)
    elif not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        for option in get_args(annotation):
            if option is not Ellipsis and not isinstance(option, str | int):
                yield from ends(option, [])


def test_every_number_of_a_recipe_has_two_ends():
    tables: list[Any] = [
        Recipe,
        *METHOD_SETTINGS.values(),
        *(kind.Settings for kind in map(TERMS.get, TERMS) if kind.__module__.startswith("supcrd.")),
    ]
    tables += [
        type(getattr(load("digits-crd"), name)) for name in ("data", "model", "augment", "train", "head", "probe")
    ]
    tables.append(type(load("digits-crd").teacher))
    open_ended = [
        f"{table.__name__}.{name}"
        for table in tables
        for name, field in table.model_fields.items()
        if name not in ("views", "contrast_views")  # numbers of views, which are looked up
        for _, both in ends(field.annotation, field.metadata)
        if not both
    ]
    assert open_ended == []


def test_no_published_recipe_is_refused():
    for name in builtin_names():
        assert tomllib.loads(builtin_text(name))
        load(name)


def test_a_message_fits_a_line():
    message = str(SupcrdError(f"/{'x' * 5000}: no such file\n\x1b[2J; an image is right"))
    assert len(message) <= LINE
    assert message.isprintable()
    assert message.startswith("/xxx")
    assert message.endswith("an image is right")
    assert one_line("short") == "short"


def test_a_word_of_a_command_that_is_too_long(tmp_path):
    write_npz(tmp_path / "x.npz")
    from typer.testing import CliRunner

    from supcrd.cli import app

    result = CliRunner().invoke(app, ["x" * 5000])
    assert result.exit_code == 2
    assert max(map(len, result.stderr.splitlines())) <= LINE
