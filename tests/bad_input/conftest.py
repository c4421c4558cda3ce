"""Finished runs to spoil."""

import shutil

import pytest
import torch
from PIL import Image
from typed import images, invoke, student, write_npz

from supcrd.models import Model


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder with a tiny set, a published file of each kind and a finished student (crd) with its teacher."""
    folder = tmp_path_factory.mktemp("base")
    write_npz(folder / "tiny.npz")
    for arch in ("convnet", "resnet8"):
        torch.manual_seed(0)
        torch.save(Model(3, arch, image_size=8).state_dict(), folder / f"{arch}.pth")
    Image.fromarray(images(1)[0][0]).save(folder / "image.png")
    assert invoke("train", "digits-crd", *student(folder), "--out", folder / "runs").exit_code == 0
    return folder


@pytest.fixture
def out(base, tmp_path):
    """A copy of the finished runs."""
    return shutil.copytree(base / "runs", tmp_path / "runs")
