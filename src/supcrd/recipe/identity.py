"""What makes a run another one, and what its folder is called."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from supcrd.base.wording import show
from supcrd.recipe import paths
from supcrd.recipe.keys import flatten, with_defaults
from supcrd.recipe.settings import Recipe, ViewSettings
from supcrd.recipe.tables import to_table

# Where a run happens and what shows it, not what it computes: these keys neither name a run nor make it another one.
PLACE_KEYS = (
    "train.device", "train.tensorboard", "train.track", "data.folder", "data.workers", "teacher.check", "plugins",
)  # fmt: skip
# Tables whose keys are known by their last part in the name of a run folder.
SHORT_TABLES = ("data", "model", "method", "augment", "train")
# Values that name no run where a file does not say them: defaults of keys that came after 0.1 to tables which a recipe
# may get by an override, and what a recipe has by its [objective.NAME] tables.
UNNAMED = {"teacher.compare": False, "method.name": "objective", "method.class_weights": "none"}
# Keys of a group of views that name no run where an override brings the group; how many views it has does name it.
NEW_GROUP = {
    name: list(field.default) if isinstance(field.default, tuple) else field.default
    for name, field in ViewSettings.model_fields.items()
    if name != "views"
}


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, key -> (old, new); None where a key is not set. Where a run happens does not count.

    Example:
        >>> from supcrd.recipe import load
        >>> differences(load("digits-crd"), load("digits-crd", ["seed=3", "train.device=cpu", "name=x"]))
        {'seed': (0, 3)}
    """
    return _changed(dict(flatten(to_table(old))), dict(flatten(to_table(new))))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = [key for key in {**before, **after} if key not in PLACE_KEYS and key != "name" and ".resolved." not in key]
    return {key: (before.get(key), after.get(key)) for key in keys if not paths.same(before.get(key), after.get(key))}


def run_name(original: Mapping[str, Any], changed: Recipe) -> str:
    """The original's name and what was changed: readable, and the same whenever the recipe is the same.

    Args:
        original: the table that `read` gave; it may lack what only the changes said.
        changed: the recipe that came of it.

    Example:
        >>> from supcrd.recipe import load, read
        >>> run_name(read("digits-crd"), load("digits-crd", ["seed=3"]))
        'digits-crd_seed=3'
    """
    parts = [str(original["name"])]
    before, after = with_defaults(original), dict(flatten(to_table(changed)))
    for key, (_, value) in sorted(_changed(before, after).items()):
        if value is None:
            continue  # a key that the new method does not have; the method's name says it
        if key in UNNAMED and key not in before and value == UNNAMED[key]:
            continue
        if key.startswith("views.") and key not in before and value == NEW_GROUP.get(key.rpartition(".")[2]):
            continue
        short = key.split(".", 1)[1] if key.split(".")[0] in SHORT_TABLES else key
        if isinstance(value, str):  # of a path its last part, which is what people know it by
            shown = re.sub(r"\.(npz|toml|pth|pt|safetensors)$", "", re.split("[/:]", value.rstrip("/"))[-1])
        else:
            shown = f"{value:.12g}" if isinstance(value, float) else show(value, 60)
        parts.append(f"{short}={re.sub(r'[^A-Za-z0-9.+-]+', '-', shown) or 'none'}")
    name = "_".join(parts)
    if len(name) <= 120:  # file systems allow 255 bytes
        return name
    return f"{name[:100]}_{hashlib.blake2b(name.encode(), digest_size=5).hexdigest()}"
