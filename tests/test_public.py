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
