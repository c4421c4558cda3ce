"""Parameter counts are the published ones, and docs/networks.md says so."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import pytest
import torch

from supcrd.models import ARCHS, Model

ROOT = Path(__file__).resolve().parents[3]
RESULTS = json.loads((ROOT / "docs" / "results" / "networks.json").read_text())

# Encoder and classifier for 100 classes, counted from RepDistiller's classes.
REPDISTILLER = {
    "wrn-16-1": 180_916,
    "wrn-16-2": 703_284,
    "wrn-40-1": 569_780,
    "wrn-40-2": 2_255_156,
    "wrn-28-4": 5_872_180,
    "wrn-28-10": 36_536_884,
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "mobilenetv2": 812_836,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
    "resnet50-2048": 23_705_252,
}


@cache
def parts(arch: str) -> tuple[int, int]:
    """Parameters of the encoder, and of the classifier for a class."""
    with torch.device("meta"):
        model = Model(2, arch)
    ours, classifier = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.classifier))
    return ours, classifier // 2


def count(arch: str, classes: int) -> int:
    inside, a_class = parts(arch)
    return inside + a_class * classes


@pytest.fixture(scope="module")
def networks():
    """benchmarks/networks.py, which is in no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        spec = importlib.util.spec_from_file_location("networks", ROOT / "benchmarks" / "networks.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("arch", REPDISTILLER)
def test_counts_of_the_field(arch):
    assert count(arch, 100) == REPDISTILLER[arch]


@pytest.mark.parametrize(("arch", "published"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_counts_of_option_a(arch, published):
    """Against He et al. 2016 for CIFAR-10; and 2,752 below option B: two 1x1 convolutions with their batch norms."""
    ours = count(f"resnet{arch}-a", 10)
    assert round(ours / 1e6, 1 if arch == 110 else 2) == published
    assert count(f"resnet{arch}", 10) - ours == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_the_document_is_of_these_networks(networks):
    """Recounted without the multiply-adds, which take half a minute."""
    assert list(RESULTS["networks"]) == list(ARCHS)
    differing = set()
    for arch, size in RESULTS["networks"].items():
        assert size["parameters"] == count(arch, 100), f"run python benchmarks/networks.py: {arch}"
        written = [{name: one[name] for name in networks.Published._fields} for one in size["published"]]
        assert written == [one._asdict() for one in networks.PUBLISHED.get(arch, ())]
        for one in networks.PUBLISHED.get(arch, ()):
            assert one.source in networks.SOURCES
            if not networks.agrees(one, count(arch, one.classes)):
                assert one.difference, arch
                differing.add(arch)
    assert differing == {"resnet50", "resnet101"}  # of other features, which is said


def test_multiply_adds_by_hand(networks):
    """WRN-16-1 at 32 px: places x kernel x inputs x outputs of each convolution."""
    first = 32 * 32 * 9 * 3 * 16 + 4 * 32 * 32 * 9 * 16 * 16
    second = 16 * 16 * (9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32)
    third = 8 * 8 * (9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64)
    assert networks.multiply_adds("wrn-16-1") == first + second + third + 64 * 100
    assert RESULTS["networks"]["wrn-16-1"]["multiply_adds"] == first + second + third + 64 * 100
    # the README of chenyaofo/pytorch-cifar-models
    for arch, millions in (("resnet20", 40.82), ("resnet32", 69.13), ("resnet44", 97.44), ("resnet56", 125.75)):
        assert RESULTS["networks"][arch]["multiply_adds"] / 1e6 == pytest.approx(millions, abs=0.2)


def test_agreement_is_by_the_digits_that_are_published(networks):
    of = networks.Published
    assert networks.agrees(of("0.28M", "He"), 278_324)
    assert not networks.agrees(of("0.27M", "He"), 278_324)
    assert networks.agrees(of("278,324", "He"), 278_324)
    assert not networks.agrees(of("278,324", "He"), 278_325)
