"""What a user meets first: `import supcrd` is quick and shows what there is, and type checkers understand it."""

import subprocess
import sys
from pathlib import Path
from typing import assert_type

import supcrd
from supcrd.models import Model
from supcrd.models.weights import Card, save_model


def python(*arguments):
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_packages_are_there_after_import_supcrd_which_loads_no_torch():
    told = python(
        "-c",
        "import sys, supcrd\n"
        "print('torch' in sys.modules, {'losses', 'metrics', 'models', 'load_model'} <= set(dir(supcrd)))\n"
        "print(supcrd.losses.crd.__name__, supcrd.metrics.alignment.__name__, supcrd.models.Model.__name__)",
    )
    assert told.splitlines() == ["False True", "crd alignment Model"]


def test_a_type_checker_knows_the_card_of_a_loaded_model(tmp_path: Path) -> None:
    """`assert_type` does nothing here: mypy refuses another type in `make check`."""
    model = Model(2, "resnet8", in_channels=1, image_size=8)
    save_model(
        tmp_path, model, Card(arch="resnet8", num_classes=2, in_channels=1, image_size=8, class_names=("cat", "dog"))
    )
    card = assert_type(supcrd.load_model(tmp_path).card, Card | None)
    assert card is not None
    assert card.class_names == ("cat", "dog")


def test_a_model_is_loaded_by_a_program_that_has_little_else(tmp_path: Path) -> None:
    """Neither figures, reports, terminal, hub and images, nor scipy, scikit-learn, timm and torchvision are needed."""
    model = Model(2, "resnet8", in_channels=1, image_size=8)
    save_model(
        tmp_path, model, Card(arch="resnet8", num_classes=2, in_channels=1, image_size=8, class_names=("cat", "dog"))
    )
    out = python(
        "-c",
        "import sys\n"
        "hidden = 'matplotlib pandas jinja2 plotly openTSNE scipy sklearn timm torchvision PIL rich typer'.split()\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in (*hidden, 'huggingface_hub'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "import torch, supcrd\n"
        f"model = supcrd.load_model({str(tmp_path)!r})\n"
        "print(model.card.class_names, tuple(model(torch.zeros(3, 1, 8, 8)).logits.shape))",
    )
    assert out.splitlines() == ["('cat', 'dog') (3, 2)"]
