"""On a CUDA device everything agrees with the CPU; skipped without one."""

import pytest
import torch

from supcrd import losses
from supcrd.base.device import choose
from supcrd.data import Split
from supcrd.data.augment import augment, draw
from supcrd.data.loader import ViewBatches
from supcrd.jobs import run as pipeline
from supcrd.models import Model
from supcrd.recipe import load
from supcrd.recipe.settings import ViewSettings
from supcrd.training.logistic import logistic_path

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_losses_agree():
    torch.manual_seed(0)
    student, teacher, logits = torch.randn(96, 64), torch.randn(96, 64), 4 * torch.randn(96, 10)
    labels = torch.arange(96) % 10
    calls = {
        "supcon": lambda s, t, g, y: losses.supcon(s, y),
        "crd": lambda s, t, g, y: losses.crd(s, t),
        "lw_supcrd": lambda s, t, g, y: losses.lw_supcrd(s, t, y, g),
        "hybrid": lambda s, t, g, y: losses.hybrid(s, t, y, g),
        "kd": lambda s, t, g, y: losses.kd(s, t),
        "kd, standardised": lambda s, t, g, y: losses.KD(2.0, standardise=True)(s, t),
        "dkd": lambda s, t, g, y: losses.dkd(s, t, y),
        "crd of some": lambda s, t, g, y: losses.crd(s[:32], t, valid=some(s)),
        "lw_supcrd of some": lambda s, t, g, y: losses.lw_supcrd(
            s[:32], t, y[:32], g[:32], candidate_labels=y, valid=some(s)
        ),
    }

    def some(like):
        """All of the first 32 candidates, every other one of the rest."""
        places = torch.arange(96, device=like.device)
        return (places < 32) | (places % 2 == 0)

    for name, call in calls.items():
        results = []
        for device in ("cpu", "cuda"):
            s, t, g, y = (x.to(device) for x in (student, teacher, logits, labels))
            s = s.detach().requires_grad_()
            loss = call(s, t, g, y)
            loss.sum().backward()
            results.append((loss.detach().cpu(), s.grad.cpu()))
        torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4, msg=name)


def test_views_agree():
    images = torch.randint(0, 256, (32, 32, 32, 3), dtype=torch.uint8)
    drawn = draw(32, seed=0, epoch=1, view=0)
    ours = augment(images.cuda(), drawn.to(torch.device("cuda")), padding=4)
    torch.testing.assert_close(ours.cpu(), augment(images, drawn, padding=4), rtol=0, atol=1e-5)


def test_strong_and_mixed_views_agree():
    random = torch.Generator().manual_seed(0)
    split = Split(torch.randint(0, 256, (64, 32, 32, 3), generator=random, dtype=torch.uint8), torch.arange(64) % 4)
    groups = {
        "strong": ViewSettings(
            crop="resized", rotation=0.5, randaugment=2, erasing=0.5, same_class_mixup=1.0, brightness=0.0,
            contrast=0.0, saturation=0.0, cutmix=1.0,
        ),
        "all": ViewSettings(randaugment=1, grayscale=0.3, blur=0.5, cutout=8, mixup=1.0),
    }  # fmt: skip
    batches = [
        ViewBatches(split, groups, batch_size=32, seed=0, device=torch.device(name)).epoch(1)
        for name in ("cpu", "cuda")
    ]
    for ours, theirs in zip(*batches, strict=True):
        assert torch.equal(ours.partner_labels, theirs.partner_labels.cpu())
        # the nearest pixel at a tie, a level where a result is whole but for float32's error
        assert ((ours.inputs - theirs.inputs.cpu()).abs() > 1e-4).double().mean() < 0.02


@pytest.mark.parametrize("arch", ["convnet", "resnet8", "resnet18"])
def test_networks_agree(arch):
    torch.manual_seed(0)
    model, images = Model(10, arch).eval(), torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        here = model(images)
        there = choose("cuda", "float32").put(model)(images.cuda())
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("digits-lw-supcrd", []),
        ("digits-hybrid", []),
        ("digits-crd", []),
        ("digits-supcon", []),
        ("digits-kd", []),
        ("digits-kd", ["method.name=dkd", "method.beta=2.0"]),
        ("digits-crd", ["method.bank=24"]),
        ("digits-lw-supcrd", ["method.bank=24", "method.kd_weight=0.5"]),
    ],
)
def test_training_learns(name, more, tmp_path, quick, quick_teacher):
    changes = [*quick, *quick_teacher, "train.device=cuda", "train.epochs=20", "teacher.override.train.epochs=10"]
    result = pipeline.run(load(name, [*changes, *more]), tmp_path)
    assert "cuda" in result.evaluation["place"]
    assert result.evaluation["knn_accuracy"] > 0.9


def test_a_refitted_classifier_agrees():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 4
    features = torch.randn(4, 12, generator=generator)[labels] + torch.randn(300, 12, generator=generator)
    (here,) = logistic_path(features, labels, 5, [1e-2])
    (there,) = logistic_path(features.cuda(), labels.cuda(), 5, [1e-2])
    torch.testing.assert_close(
        there.linear.logits(features.cuda()).cpu(), here.linear.logits(features), rtol=0, atol=1e-3
    )
