"""What a user meets first: `import supcrd` is quick and shows what there is, and type checkers understand it."""

import subprocess
import sys
from pathlib import Path

import supcrd

# A card is made of none of these, and a type checker reads torch for half a minute.
OTHERS = ("torch", "torchvision", "numpy", "scipy", "PIL", "pydantic", "rich", "timm", "sklearn", "safetensors")


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


def test_a_type_checker_knows_the_card_of_a_loaded_model(tmp_path):
    snippet = tmp_path / "snippet.py"
    snippet.write_text('import supcrd\n\nreveal_type(supcrd.load_model("x").card)\n')
    config = tmp_path / "mypy.ini"
    config.write_text(
        f"[mypy]\nmypy_path = {Path(supcrd.__file__).parents[1]}\nfollow_imports = silent\n"
        f"cache_dir = {tmp_path / 'cache'}\nignore_missing_imports = true\n"
        f"[{','.join(f'mypy-{package}.*' for package in OTHERS)}]\nfollow_imports = skip\n"
    )
    told = python("-m", "mypy", "--config-file", str(config), str(snippet))
    assert 'Revealed type is "supcrd.models.card.Card | None"' in told
