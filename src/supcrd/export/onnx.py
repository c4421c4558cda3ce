"""A network in an ONNX file."""

import ast
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from supcrd.export.about import KEY, About
from supcrd.export.extra import need
from supcrd.export.network import Deployed
from supcrd.export.trace import checked

OPSET = 20
"""Read by runtimes since 2023."""
IMAGES, LOGITS = "images", "logits"
SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter says of a node which modules it stands in, the outermost first, and its own name last."""


def write(network: Deployed, about: About, path: Path) -> None:
    """Write a network with a batch of any size; `about` stands in the file's metadata.

    Raises:
        CheckpointError: something in it cannot be exported; names the module.
        SupcrdError: the packages are not installed.
        OSError: the file cannot be written.
    """
    need("onnxscript")
    model = checked(network, network.example(about.card), _model)
    save(model, about, path)


def save(model: Any, about: About, path: Path) -> None:
    """Write an ONNX model with nothing in it of how it was traced."""
    onnx = need("onnx")
    _name_layers(model)
    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=about.to_text())
    model.producer_name = "supcrd"
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del part.metadata_props[:]
    del model.graph.value_info[:]
    for part in (model.graph.input[0], model.graph.output[0]):
        part.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _model(network: nn.Module, example: Tensor) -> Any:
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        input_names=[IMAGES],
        output_names=[LOGITS],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _name_layers(model: Any) -> None:
    """Name each layer with weights as its module is named, so that people can speak of it.

    The exporter keeps equal weights once, such as those of batch norms that have not been trained: of the layers that
    share them the first one has the name, since a name stands once in a file. Weights of linear layers on more than two
    dimensions are turned round and lose their name.
    """
    weights = {weight.name for weight in model.graph.initializer}
    taken = set()
    for node in model.graph.node:
        named = next((name for name in node.input if name in weights and name.endswith(".weight")), None)
        if named is None and node.op_type == "MatMul" and weights & set(node.input):
            scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
            named = "".join(f"{module}.weight" for module in ast.literal_eval(scopes)[-2:-1])
        if named and named not in taken:
            taken.add(named)
            node.name = named.removesuffix(".weight")
