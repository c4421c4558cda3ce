"""Networks that classify digits without having been trained: random features, and a classifier fitted on them."""

from pathlib import Path

import torch
from torch.nn import functional

from supcrd import data
from supcrd.base.device import choose
from supcrd.data.stream import fetch
from supcrd.evaluation.outputs import features
from supcrd.jobs.exported import pixels
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.weights import Card, save_model

MEAN, STD = (0.305,), (0.381,)


def digits_model(arch="resnet8"):
    """A model right on most digits, and its card."""
    torch.manual_seed(0)
    digits = data.load("digits")
    model = Model(10, arch, in_channels=1, image_size=8, projector=(8,))
    subject = Normalised(model, MEAN, STD)
    with torch.no_grad():  # running statistics of batch normalisation
        model.train()(subject.prepare(float_pixels(digits.train.images[:512])))
    rows = features(subject, digits.train.images, choose("cpu"))
    targets = functional.one_hot(digits.train.labels, 10).float()
    centred = rows - rows.mean(dim=0)
    weight = torch.linalg.lstsq(centred.T @ centred + 1e-3 * torch.eye(rows.shape[1]), centred.T @ targets).solution
    with torch.no_grad():
        model.classifier.weight.copy_(10 * weight.T)
        model.classifier.bias.copy_(-10 * rows.mean(dim=0) @ weight)
    names = tuple(map(str, range(10)))
    recipe = {"data": {"source": "digits"}}
    card = Card(arch=arch, num_classes=10, in_channels=1, image_size=8, projector=(8,), class_names=names, mean=MEAN,
                std=STD, recipe=recipe)  # fmt: skip
    return model.eval(), card


def saved(folder, arch="resnet8", **changes):
    """Its file."""
    from dataclasses import replace

    model, card = digits_model(arch)
    Path(folder).mkdir(parents=True, exist_ok=True)
    return save_model(Path(folder), model, replace(card, **changes))


def float_pixels(images):
    """(B, H, W, channels) uint8 to (B, channels, H, W) in 0..1."""
    return pixels(images).float() / 255


def shown_images(count=64):
    """(B, channels, H, W) uint8, and labels."""
    split = data.load("digits").test
    (images,) = fetch(split.images, [slice(0, count)], torch.device("cpu"))
    return pixels(images), split.labels[:count]
