"""Weights from outside run as they were trained: timm itself, and torchvision's resize, say what is right."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from supcrd import recipe as recipes
from supcrd.base.device import choose
from supcrd.data import Split
from supcrd.data.augment import to_float
from supcrd.data.loader import ViewBatches
from supcrd.errors import CheckpointError
from supcrd.evaluation.outputs import outputs
from supcrd.jobs import run as pipeline
from supcrd.jobs.student import describe
from supcrd.models import Model
from supcrd.models.names import timm_index
from supcrd.models.recognise import signature
from supcrd.models.weights import load_model, save_model
from supcrd.recipe.settings import AugmentSettings
from supcrd.training import cache
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Reads, Step, Term, term
from supcrd.training.task import Distillation, HeadFit, Normalised
from supcrd.training.teacher import Teaching, shapes_of
from typed import NET, invoke, refused, teacher_from, write_npz

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def lively(net: nn.Module) -> nn.Module:
    """Weights of which every layer counts: a fresh network's norms are zero in places and hide what is wrong."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    for name, parameter in net.named_parameters():
        if name.endswith("gamma"):  # convnext's layer scale starts at 1e-6
            parameter.data.fill_(0.5)
    return net.eval()


def timms(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return lively(timm.create_model(name, num_classes=3, **options))


def written(path: Path, net: nn.Module) -> Path:
    state = {key: tensor.contiguous() for key, tensor in net.state_dict().items()}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# One network after another


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet18", True),
        ("resnet10t", True),
        ("mobilenetv3_small_050", True),
        ("efficientnet_b0", False),  # tf_efficientnet_b0 has the same keys and shapes
        ("convnext_atto", True),
        ("vit_tiny_patch16_224", True),
    ],
)
def test_logits_are_timms_own(tmp_path: Path, name: str, told: bool, size: int) -> None:
    theirs = timms(name, **({"img_size": size} if name.startswith("vit") else {}))
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        right = theirs(images)
    for suffix in (".pth", ".safetensors"):
        path = written(tmp_path / f"weights{suffix}", theirs)
        for arch in {f"timm:{name}", None if told else f"timm:{name}"}:
            model, card = load_model(path, arch=arch, image_size=size)
            assert (card.arch, card.image_size, card.stem) == (f"timm:{name}", size, "native")
            with torch.no_grad():
                torch.testing.assert_close(model(images).logits, right, rtol=0, atol=1e-4)
    # what is kept of it as a folder of our own is the same network
    save_model(tmp_path, model, card)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path)[0](images).logits, model(images).logits)


@pytest.mark.parametrize(
    ("name", "size", "statistics"),
    [
        ("mobilenetv3_small_050", 224, IMAGENET),
        ("resnet10t", 176, IMAGENET),
        ("vit_tiny_patch16_224", 224, HALF),
        ("deit_tiny_patch16_224", 224, IMAGENET),
    ],
)
def test_size_and_normalisation_are_timms_where_nothing_else_is_said(
    tmp_path: Path, name: str, size: int, statistics: tuple, caplog: pytest.LogCaptureFixture
) -> None:
    config = timm.get_pretrained_cfg(name)
    assert (config.input_size[-1], (config.mean, config.std)) == (size, statistics)
    path = written(tmp_path / "a.pth", timms(name))
    _, card = load_model(path, arch=f"timm:{name}")
    assert (card.image_size, (card.mean, card.std)) == (size, statistics)
    (line,) = warned(caplog)
    assert f"timm:{name} with its own stem, {size} px, mean {statistics[0][0]:g}," in line
    caplog.clear()
    _, card = load_model(path, arch=f"timm:{name}", image_size=size, mean=(0.1,) * 3, std=(0.2,) * 3)
    assert (card.mean, card.std) == ((0.1,) * 3, (0.2,) * 3)
    assert warned(caplog) == []


def test_a_transformer_tells_its_size_but_not_who_trained_it(tmp_path: Path) -> None:
    """vit_tiny and deit_tiny are one network, normalised in two ways."""
    _, card = load_model(written(tmp_path / "a.pth", timms("deit_tiny_patch16_224", img_size=96)))
    assert (card.image_size, card.stem, card.mean) == (96, "native", None)


@pytest.mark.parametrize("name", ["vit_tiny_r_s16_p8_224", "hiera_tiny_224"])
def test_transformers_whose_patches_do_not_tell_their_size(tmp_path: Path, name: str) -> None:
    """A convolutional network before the patches, and patches that overlap."""
    theirs = timms(name)
    model, card = load_model(written(tmp_path / "a.pth", theirs), arch=f"timm:{name}")
    assert card.image_size == 224
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, theirs(images), rtol=0, atol=1e-4)


def test_grey_images_have_no_usual_normalisation(tmp_path: Path) -> None:
    _, card = load_model(written(tmp_path / "a.safetensors", timms("mobilenetv3_small_050", in_chans=1)))
    assert (card.in_channels, card.mean) == (1, None)


def test_the_index_is_timms() -> None:
    for name in ("resnet18", "efficientnet_b0", "vit_tiny_patch16_224", "convnext_atto", "regnetx_002"):
        assert signature(timm.create_model(name, num_classes=0).state_dict()) == timm_index()[name]


def test_weights_that_several_networks_would_take_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pth", timms("efficientnet_lite0"))
    with pytest.raises(CheckpointError, match=r"timm:efficientnet_lite0, timm:tf_efficientnet_lite0, which compute"):
        load_model(path)
    padded = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    padded.load_state_dict(torch.load(path))
    images = torch.randn(2, 3, 64, 64)
    model, _ = load_model(path, arch="timm:tf_efficientnet_lite0", image_size=64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, padded(images), rtol=0, atol=1e-4)


def test_what_timm_does_not_have_names_the_nearest(tmp_path: Path) -> None:
    net = timms("mobilenetv3_small_050")
    net.extra = nn.Linear(2, 2)
    with pytest.raises(CheckpointError) as caught:
        load_model(written(tmp_path / "a.safetensors", net))
    line = str(caught.value)
    assert "no supcrd card in its metadata" in line
    assert "the nearest are timm:mobilenetv3_small_050, timm:" in line
    assert "it has 244 keys (" in line
    assert "\n" not in line


def test_an_architecture_without_its_prefix(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pth", timms("mobilenetv3_small_050"))
    with pytest.raises(CheckpointError, match="arch 'mobilenetv3_small_050' is timm's; 'timm:mobilenetv3_small_050'"):
        load_model(path, arch="mobilenetv3_small_050")


# Our own, of 0.1 and of now


def test_a_card_of_before_stems_means_the_low_one(tmp_path: Path) -> None:
    model = Model(3, "timm:mobilenetv3_small_050").eval()
    path = save_model(tmp_path, model, describe(model))
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["supcrd"])
    assert (card.pop("stem"), card.pop("version")) == ("low", 3)
    del card["classifier"], card["temperature"]  # as 0.1 wrote it
    save_file(model.state_dict(), path, metadata={"supcrd": json.dumps(card)})
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_model(path)[0](images).logits, model(images).logits)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18", "resnet10t", "vit_tiny_patch16_224"])
def test_a_native_stem_is_what_plain_timm_runs(name: str) -> None:
    model = lively(Model(3, f"timm:{name}", stem="native"))
    theirs = timm.create_model(name, num_classes=0, **({"img_size": 32} if name.startswith("vit") else {})).eval()
    assert str(theirs.load_state_dict(model.encoder.state_dict())) == "<All keys matched successfully>"
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images).features, theirs(images))
    low = Model(3, f"timm:{name}")
    assert (model.stem, low.stem) == ("native", "low")
    assert Model(3, f"timm:{name}", image_size=64).stem == "native"
    assert Model(3, f"timm:{name}", image_size=64, stem="low").stem == "low"


def test_stems_that_there_are_not() -> None:
    for arch, stem, message in (
        ("timm:regnetx_002", "low", "none for small images is known for 'timm:regnetx_002'"),
        ("resnet18", "native", "arch 'resnet18' has one stem, for small images"),
        ("timm:resnet18", "wide", "stem is 'wide'; low or native is right"),
    ):
        with pytest.raises(ValueError, match=message):
            Model(3, arch, stem=stem)


# Views of another size


def subject(size: int, statistics: tuple = HALF) -> Normalised:
    torch.manual_seed(3)
    return Normalised(lively(Model(3, "timm:mobilenetv3_small_050", image_size=size, stem="native")), *statistics)


@pytest.mark.parametrize("size", [8, 48, 224])
def test_images_of_another_size_are_resized_as_torchvision_does(size: int) -> None:
    images = torch.rand(2, 3, 32, 32)
    resized = transforms.resize(images, [size, size], antialias=True)
    right = transforms.normalize(resized, *map(list, IMAGENET))
    made = Normalised(Model(3, "resnet8", image_size=size), *IMAGENET).prepare(images)
    torch.testing.assert_close(made, right, rtol=0, atol=1e-5)


@term("test-seen")
class Seen(Term):
    """What the teacher's features are."""

    reads = Reads({"logits"}, {"features"})

    def forward(self, step: Step) -> Tensor:
        return step.teachers["teacher"].features.sum() + 0 * step.student.logits.sum()


def split(count: int = 6, size: int = 32) -> Split:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))
    return Split(pixels, torch.arange(count) % 3)


def test_a_teacher_sees_the_students_view_at_its_own_size_everywhere(tmp_path: Path) -> None:
    """In a step, in the cache, where its head is fitted and where it is measured."""
    teacher, student = subject(64, IMAGENET), Normalised(Model(3, "resnet8"), *HALF)
    images, augment = split(), AugmentSettings(views=2)
    batches = ViewBatches(images, augment, batch_size=6, seed=cache.SEED, device=torch.device("cpu"))
    (batch,) = list(batches.epoch(0))
    with torch.no_grad():
        resized = transforms.resize(batch.inputs, [64, 64], antialias=True)
        right = teacher.model.encoder(transforms.normalize(resized, *map(list, IMAGENET)))
    context = Context(
        classes=3,
        labels=images.labels,
        student=shapes_of(student, maps=False),
        teachers={"teacher": shapes_of(teacher, maps=False)},
    )
    objective = build({"test-seen": {}}, context, epochs=1, views=2)
    task = Distillation(student, objective, {"teacher": Teaching(teacher)})
    torch.testing.assert_close(task(batch).terms["test-seen"].detach(), right.sum(), rtol=1e-4, atol=1e-4)
    seen: list[Tensor] = []
    teacher.model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    HeadFit(teacher, temperature=0.1)(batch)
    torch.testing.assert_close(seen[0], right, rtol=1e-4, atol=1e-5)

    place = choose("cpu", "float32")
    kept = cache.prepare(tmp_path, "w", teacher, images, "d", augment, 1, place)
    views = batches.views([torch.arange(6)], seed=cache.SEED, epoch=0)
    ((_, view),) = list(views)
    with torch.no_grad():
        resized = transforms.resize(view, [64, 64], antialias=True)
        right = teacher.model.encoder(transforms.normalize(resized, *map(list, IMAGENET)))
    found = kept.reader(0)(torch.arange(6)).float()
    torch.testing.assert_close(found, right, rtol=2e-3, atol=2e-3)

    logits = outputs(teacher, images.images, place).logits
    with torch.no_grad():
        resized = transforms.resize(to_float(images.images), [64, 64], antialias=True)
        right = teacher.model(transforms.normalize(resized, *map(list, IMAGENET))).logits
    torch.testing.assert_close(logits, right, rtol=1e-4, atol=1e-5)


def test_the_caches_key_knows_the_size_where_views_are_resized(tmp_path: Path) -> None:
    place, augment = choose("cpu", "float32"), AugmentSettings(views=1)
    homes = {
        cache.prepare(tmp_path / str(size), "w", subject(size), split(), "d", augment, 1, place).files[0].parent.name
        for size in (32, 48, 64)
    }
    assert len(homes) == 3
    about = json.loads(next((tmp_path / "32").glob("cache/*/cache.json")).read_text())
    assert "image_size" not in about  # so that caches of 0.1 are found


# As a user types it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "tiny.npz", size=32)


def labelled(path: Path, size: int, statistics: tuple) -> tuple[Tensor, np.ndarray]:
    with np.load(path) as held:
        pixels = torch.from_numpy(held["test_images"]).permute(0, 3, 1, 2).float() / 255
        labels = held["test_labels"]
    return transforms.normalize(transforms.resize(pixels, [size, size], antialias=True), *map(list, statistics)), labels


@pytest.mark.parametrize(("arguments", "size"), [(["--image-size", 64], 64), ([], 224)])
def test_evaluate_gives_timms_accuracy(data: Path, tmp_path: Path, arguments: list, size: int) -> None:
    theirs = timms("efficientnet_lite0")
    path = written(tmp_path / "a.safetensors", theirs)
    images, labels = labelled(data, size, IMAGENET)
    with torch.no_grad():
        right = theirs(images)
    words = ["--data", f"npz:{data}", "--arch", "timm:efficientnet_lite0", *arguments, "--json"]
    done = invoke("evaluate", path, *words)
    values = json.loads(done.stdout)
    assert values["accuracy"] == pytest.approx((right.argmax(1).numpy() == labels).mean())
    assert values["nll"] == pytest.approx(nn.functional.cross_entropy(right, torch.from_numpy(labels)).item(), rel=1e-3)
    said = " ".join(done.stderr.split())
    assert f"timm:efficientnet_lite0 with its own stem, {size} px" in said
    assert f"has 32 px images, the model {path} takes {size} px: they are resized" in said


def test_predict_at_a_size(data: Path, tmp_path: Path) -> None:
    from PIL import Image

    theirs = timms("vit_tiny_patch16_224", img_size=64)
    path = written(tmp_path / "a.pth", theirs)
    with np.load(data) as held:
        Image.fromarray(held["test_images"][0]).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "i.png")
    pixels = torch.from_numpy(np.array(Image.open(tmp_path / "i.png"))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        right = torch.softmax(theirs((pixels - 0.5) / 0.5), dim=1).max().item()
    words = ["--image-size", 64, "--arch", "timm:vit_tiny_patch16_224", "--json"]
    (row,) = json.loads(invoke("predict", path, tmp_path / "i.png", *words).stdout)["predictions"]
    assert row["classes"][0]["probability"] == pytest.approx(right, abs=1e-4)
    assert "--image-size 3 is not right" in refused("predict", path, tmp_path / "i.png", "--image-size", 3)


def test_our_own_model_is_asked_about_images_of_another_size_only_on_purpose(data: Path, tmp_path: Path) -> None:
    model = Model(3, "resnet8", image_size=16).eval()
    save_model(tmp_path, model, describe(model, mean=HALF[0], std=HALF[1]))
    words = ["evaluate", tmp_path, "--data", f"npz:{data}"]
    assert "has 32 px images, the model" in refused(*words)
    assert "--image-size 16 resizes them" in refused(*words)
    assert "image_size is 32, but the file's is 16" in refused(*words, "--image-size", 32)
    images, labels = labelled(data, 16, HALF)
    with torch.no_grad():
        right = (model(images).logits.argmax(1).numpy() == labels).mean()
    values = json.loads(invoke(*words, "--image-size", 16, "--json").stdout)
    assert values["accuracy"] == pytest.approx(right)


def test_weights_that_leave_the_size_open_take_the_datas(tmp_path: Path) -> None:
    data = write_npz(tmp_path / "tiny.npz", size=48)
    net = timms("resnet18")
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    images, labels = labelled(data, 48, HALF)
    with torch.no_grad():
        right = (net(images).argmax(1).numpy() == labels).mean()
    words = ["--data", f"npz:{data}", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--json"]
    done = invoke("evaluate", written(tmp_path / "a.pth", net), *words)
    assert json.loads(done.stdout)["accuracy"] == pytest.approx(right)
    assert "they are resized" not in done.stderr


def test_a_teacher_from_timm_of_its_own_size(data: Path, tmp_path: Path) -> None:
    """The student's agreement with it is with what plain timm says."""
    theirs = timms("mobilenetv3_small_050")
    path = written(tmp_path / "t.safetensors", theirs)
    lines = [f'checkpoint = "{path}"', 'arch = "timm:mobilenetv3_small_050"', "image_size = 64"]
    file = teacher_from(tmp_path, "\n".join(lines), built_in="digits-kd")
    changes = [change for change in NET if not change.startswith("model.arch")]
    words = ["train", file, f"data.source=npz:{data}", *changes, "model.arch=resnet8", "name=s"]
    done = invoke(*words, "teacher.head.epochs=0", "--out", tmp_path / "runs", "--json")
    assert done.exit_code == 0, done.stderr
    assert "sees the student's views resized from 32 to 64 px" in " ".join(done.stderr.split())
    told = json.loads(done.stdout)
    model, card = load_model(told["runs"]["teacher"])
    assert (card.image_size, card.stem, (card.mean, card.std)) == (64, "native", IMAGENET)
    images, _ = labelled(data, 64, IMAGENET)
    with torch.no_grad():
        right = theirs(images)
        torch.testing.assert_close(model(images).logits, right, rtol=0, atol=1e-4)
    with np.load(Path(told["runs"]["student"]) / "outputs.npz") as kept:
        agreed = (kept["logits"].argmax(1) == right.argmax(1).numpy()).mean()
    assert told["evaluation"]["teacher_agreement"] == pytest.approx(agreed)


def test_a_teachers_folder_of_before_is_taken_only_where_it_is_the_same_network(data: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "t.pth", timms("mobilenetv3_small_050"))
    file = teacher_from(tmp_path, f'checkpoint = "{path}"\nimage_size = 64\nhead.epochs = 0', built_in="digits-kd")
    recipe = recipes.load(file, [f"data.source=npz:{data}"])
    images = pipeline.load_data(recipe)
    first = pipeline.prepare_teachers(recipe, images, tmp_path / "runs")["teacher"]
    low = Model(3, "timm:mobilenetv3_small_050")
    save_model(first.folder, low, describe(low, mean=HALF[0], std=HALF[1], projection_trained=False))
    second = pipeline.prepare_teachers(recipe, images, tmp_path / "runs")["teacher"]
    again = pipeline.prepare_teachers(recipe, images, tmp_path / "runs")["teacher"]
    assert second.folder == again.folder != first.folder
    assert (second.subject.model.stem, second.subject.model.image_size) == ("native", 64)


def test_weights_are_as_readable_as_their_card(tmp_path: Path) -> None:
    model = Model(3, "resnet8")
    path = save_model(tmp_path, model, describe(model))
    assert path.stat().st_mode == (tmp_path / "model.json").stat().st_mode
