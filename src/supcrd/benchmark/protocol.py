"""How the published runs were trained, and what this benchmark makes of it at another number of epochs.

RepDistiller's settings, which its successors kept: SGD with momentum 0.9, learning rate 0.05 (0.01 for MobileNet and
ShuffleNet), divided by 10 after 150, 180 and 210 of 240 epochs, weight decay 5e-4, batch 64, one view an image: a
padded crop and a flip. Differences: Nesterov's momentum, and images held out for validation.
"""

from typing import Any

VIEW_EPOCHS = 240
"""Epochs x views an image of the published runs."""
SLOW = ("mobilenet", "shufflenet")
"""How the networks begin whose learning rate is 0.01."""
VIEW = {"views": 1, "crop_padding": 4, "flip": 0.5, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
STRONG = {"crop": "resized", "crop_scale": [0.4, 1.0], "randaugment": 1, "magnitude": 5, "erasing": 0.25}
CUTMIX = {"cutmix": 1.0, "mix": 0.5}
BASE, KD = "cross_entropy", "kd"
LADDER: dict[str, dict[str, Any]] = {BASE: {}, f"{BASE}-strong": STRONG, f"{BASE}-cutmix": CUTMIX}
"""Undistilled students, and what their views have beside the published one's."""
TWO_VIEWS = ("supcon", "crd", "lw_supcrd", "hybrid")
"""Methods of projections alone, which compare the images of a batch: two views an image, so half as many epochs."""
WARMUP = {"dkd": 20 / 240, "review": 20 / 240}
"""Share of the training over which the weight of a term rises."""


def train(arch: str, epochs: int) -> dict[str, Any]:
    """The `[train]` table of a network.

    Example:
        >>> train("resnet20", 240)["lr"], train("mobilenetv2", 240)["lr"]
        (0.05, 0.01)
    """
    return {
        "epochs": epochs,
        "batch_size": 64,
        "optimizer": "sgd",
        "momentum": 0.9,
        "lr": 0.01 if arch.startswith(SLOW) else 0.05,
        "weight_decay": 5e-4,
        "schedule": "step",
    }


def views_of(name: str) -> dict[str, Any]:
    """The `[augment]` table of a configuration.

    Example:
        >>> views_of("kd")["views"], views_of("crd")["views"], views_of("cross_entropy-cutmix")["cutmix"]
        (1, 2, 1.0)
    """
    return VIEW | ({"views": 2} if name in TWO_VIEWS else LADDER.get(name, {}))
