"""Which class is which output: by name, wherever a model meets data that it was not trained on."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

import supcrd
from supcrd import data
from supcrd.data.classes import match, numbered, pick_outputs, read_names, renamed
from supcrd.errors import DataError
from supcrd.models import Model
from typed import images, invoke, refused, teacher_from

COLOURS = ("red", "green", "blue")  # of images(): label 0 is bright in red
LEARN = ["model.arch=convnet", "train.epochs=8", "train.batch_size=16", "probe.epochs=1", "head.epochs=1"]


def write_folder(path, names, *, splits=("train", "test"), only=None):
    """Class folders of the images of each label under these names."""
    pixels, labels = images(60)
    for number, (array, label) in enumerate(zip(pixels, labels, strict=True)):
        if only is None or label in only:
            for split in splits:
                folder = path / split / names[label]
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / f"{number:03}.png")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that tells colours, whose classes are blue, green, red in the order of its outputs."""
    folder = tmp_path_factory.mktemp("colours")
    write_folder(folder / "ours", COLOURS)
    done = invoke("train", "digits-cross-entropy", f"data.source=folder:{folder}/ours", *LEARN, "name=run",
                  "--out", folder, "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["evaluation"]["accuracy"] > 0.6
    return folder / "run"


def accuracy(run, pixels, names):
    """By hand: the share of images whose most probable class has the right name."""
    model = supcrd.load_model(run)
    card = model.card
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (card.mean, card.std))
    logits = model((torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - mean) / std).logits
    told = [card.class_names[number] for number in logits.argmax(dim=1).tolist()]
    return sum(a == b for a, b in zip(told, names, strict=True)) / len(names)


def measured(*arguments):
    done = invoke("evaluate", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["accuracy"]


@pytest.mark.parametrize("only", [(0, 1, 2), (0, 1), (0,), (1, 2)])
def test_a_folder_with_some_of_the_classes_is_matched_by_name(run, tmp_path, only):
    write_folder(tmp_path / "some", COLOURS, splits=("test",), only=only)
    pixels, labels = images(60)
    chosen = np.isin(labels, only)
    expected = accuracy(run, pixels[chosen], [COLOURS[label] for label in labels[chosen]])
    assert measured(run, "--data", f"folder:{tmp_path}/some") == expected


def test_other_names_are_refused_until_somebody_says_which_is_which(run, tmp_path):
    words = dict(zip(COLOURS, ("rouge", "vert", "bleu"), strict=True))
    write_folder(tmp_path / "french", [words[name] for name in COLOURS])
    line = refused("evaluate", run, "--data", f"folder:{tmp_path}/french")
    assert "'bleu', 'rouge', 'vert'" in line
    assert "'blue', 'green', 'red'" in line
    assert "--classes FILE" in line
    (tmp_path / "names.txt").write_text("bleu\nvert\nrouge\n")
    french = ["--data", f"folder:{tmp_path}/french", "--classes", tmp_path / "names.txt"]
    assert measured(run, *french) == measured(run)
    assert json.loads(invoke("evaluate", run, *french, "--json").stdout)["class_names"] == ["bleu", "vert", "rouge"]
    (tmp_path / "names.txt").write_text("bleu\nvert\n")
    assert "2 names" in refused("evaluate", run, "--data", f"folder:{tmp_path}/french", "--classes",
                                tmp_path / "names.txt")  # fmt: skip
    teaching = teacher_from(tmp_path, f'run = "{run}"', "digits-kd")
    source = [f"data.source=folder:{tmp_path}/french", *LEARN, "train.epochs=1", "--out", tmp_path / "runs"]
    assert "teacher.classes" in refused("train", teaching, *source)
    assert not (tmp_path / "runs").exists()
    done = invoke("train", teaching, *source, 'teacher.classes=["bleu", "vert", "rouge"]', "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["evaluation"]["teacher_accuracy"] > 0.6


def test_labels_without_names_are_places_and_that_is_said(run, tmp_path, caplog):
    pixels, labels = images(60)
    ours = 2 - labels  # outputs are blue, green, red
    np.savez(tmp_path / "bare.npz", test_images=pixels, test_labels=ours)
    with caplog.at_level(logging.WARNING):
        told = measured(run, "--data", f"npz:{tmp_path}/bare.npz")
    assert told == accuracy(run, pixels, [COLOURS[label] for label in labels])
    np.savez(tmp_path / "more.npz", test_images=pixels[:4], test_labels=[0, 1, 2, 3])
    assert "4 classes" in refused("evaluate", run, "--data", f"npz:{tmp_path}/more.npz")
    first_two = ours < 2
    np.savez(tmp_path / "fewer.npz", test_images=pixels[first_two], test_labels=ours[first_two])
    assert measured(run, "--data", f"npz:{tmp_path}/fewer.npz") == accuracy(
        run, pixels[first_two], [COLOURS[label] for label in labels[first_two]]
    )


def test_what_is_said_of_classes_without_names(caplog):
    digits = data.load("digits")
    with caplog.at_level(logging.WARNING, "supcrd"):
        assert match(None, 10, digits, model="m.pth", key="--classes FILE") == tuple(range(10))
    assert "the classes of m.pth have no names" in caplog.text
    with pytest.raises(DataError, match=r"digits has 10 classes, m\.pth knows 7; model\.checkpoint trains from"):
        match(None, 7, digits, model="m.pth", key="--classes FILE")
    with pytest.raises(DataError, match=r"m\.pth knows 12; --classes FILE picks among them, or model\.checkpoint"):
        match(None, 12, digits, model="m.pth", key="--classes FILE")
    with pytest.raises(DataError, match="two outputs of one name"):
        match((*map(str, range(10)), "3"), 11, digits, model="m.pth", key="--classes FILE")


def test_a_teacher_that_knows_more_classes_in_another_order(run, tmp_path):
    """Its answers on two classes are its logits of these two, in the student's order."""
    write_folder(tmp_path / "two", COLOURS, only=(0, 2))  # blue and red; green is not there
    teaching = teacher_from(tmp_path, f'run = "{run}"', "digits-kd")
    done = invoke("train", teaching, f"data.source=folder:{tmp_path}/two", *LEARN, "train.epochs=1",
                  "--out", tmp_path, "name=of-two", "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)["evaluation"]
    model, student = supcrd.load_model(run), supcrd.load_model(tmp_path / "of-two")
    pixels, labels = images(60)
    both = torch.tensor(pixels[np.isin(labels, (0, 2))]).permute(0, 3, 1, 2) / 255

    def answers(network):
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (network.card.mean, network.card.std))
        return network((both - mean) / std).logits

    theirs = answers(model)[:, [0, 2]].argmax(dim=1)
    assert told["teacher_agreement"] == (answers(student).argmax(dim=1) == theirs).float().mean().item()


def test_predict_names_what_a_file_says(run, tmp_path):
    (tmp_path / "names.txt").write_text("bleu\nvert\nrouge\n")
    Image.fromarray(images(1)[0][0]).save(tmp_path / "a.png")
    told = json.loads(invoke("predict", run, tmp_path / "a.png", "--classes", tmp_path / "names.txt", "--json").stdout)
    plain = json.loads(invoke("predict", run, tmp_path / "a.png", "--json").stdout)
    words = dict(zip(("blue", "green", "red"), ("bleu", "vert", "rouge"), strict=True))
    pairs = zip(told["predictions"][0]["classes"], plain["predictions"][0]["classes"], strict=True)
    assert all(a["class"] == words[b["class"]] for a, b in pairs)


def test_a_data_set_gets_names_or_another_order(tmp_path):
    pixels, labels = images(9)
    np.savez(tmp_path / "bare.npz", train_images=pixels, train_labels=labels)
    bare = data.load(f"npz:{tmp_path}/bare.npz", validation=0)
    named = renamed(bare, COLOURS)
    assert named.class_names == COLOURS
    assert torch.equal(named.train.labels, bare.train.labels)
    assert named.fingerprint != bare.fingerprint
    np.savez(tmp_path / "named.npz", train_images=pixels, train_labels=labels, class_names=list(COLOURS))
    ours = data.load(f"npz:{tmp_path}/named.npz", validation=0)
    turned = renamed(ours, COLOURS[::-1])
    assert torch.equal(turned.train.labels, 2 - ours.train.labels)
    assert renamed(ours, None) is ours
    for names, said in (
        (("red", "green"), "leaves out 'blue'"),
        ((*COLOURS, "pink"), "names 'pink'"),
        (("red", "red", "blue"), "'red' twice"),
        (str(tmp_path / "none.txt"), "cannot be read"),
    ):
        with pytest.raises(DataError, match=said):
            renamed(ours, names)


def test_numbering_keeps_pixels_and_picking_keeps_logits():
    digits = data.load("digits")
    order = tuple(reversed(range(10)))
    turned = numbered(digits, order, digits.class_names[::-1])
    assert torch.equal(turned.test.labels, 9 - digits.test.labels)
    assert turned.test.images is digits.test.images
    torch.manual_seed(0)
    model = Model(10, "resnet8", in_channels=1, image_size=8).eval()
    points = torch.rand(4, 1, 8, 8)
    before, state = model(points).logits, torch.get_rng_state()
    assert torch.allclose(pick_outputs(model, (7, 0, 3))(points).logits, before[:, [7, 0, 3]], atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)


def test_names_from_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat \nsea lion\n\n", encoding="utf-8-sig")
    assert read_names(str(path), "--classes") == ("cat", "sea lion")
    path.write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match="an empty name"):
        read_names(str(path), "--classes")
