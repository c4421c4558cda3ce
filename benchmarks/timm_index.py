"""Writes src/supcrd/models/timm_index.csv: the signature of every architecture that timm knows. Some ten minutes."""

from pathlib import Path

import timm
import torch

from supcrd.models.names import INDEX
from supcrd.models.recognise import signature

PATH = Path(__file__).parents[1] / "src" / "supcrd" / "models" / INDEX


def main() -> None:
    """Build them all, without memory for their weights."""
    lines = []
    for name in sorted(timm.list_models()):
        with torch.device("meta"):
            tensors, numbers = signature(timm.create_model(name, num_classes=0).state_dict())
        lines.append(f"{name},{tensors},{numbers}")
    PATH.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
