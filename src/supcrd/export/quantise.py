"""An ONNX file whose layers compute with 8-bit integers: static, QDQ, a scale for each output channel of weights."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import CheckpointError
from supcrd.export import onnx as files
from supcrd.export.about import About
from supcrd.export.extra import need
from supcrd.export.trace import quiet

QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "GlobalAveragePool", "ReduceMean", "Clip")
"""Operators that compute in 8 bits; what stands between two of them as well, so that few steps go back to float32."""


def quantise(source: Path, about: About, batches: Iterable[NDArray[Any]], path: Path) -> None:
    """Write an 8-bit file of a float32 one.

    Weights have 8 signed bits, of which 7 are used, and a scale for each output channel, and go to the nearest level;
    `supcrd.export.rounding` rounds those of the source better before. Activations have 8 unsigned
    bits, of the range that calibration images give. (With all 8 bits of the weights, processors without VNNI add two
    products in 16 bits and may saturate: a file that was right on one machine would be wrong on another.) What gives
    the images their normalisation stays in float32.

    Args:
        source: what `files.write` wrote.
        about: of the new file; its `float_layers` stay in float32. The layer before one of them then gives its outputs
            unrounded.
        batches: calibration images, (B, channels, H, W) as the file's input.
        path: to write.

    Raises:
        CheckpointError: `float_layers` names no layer of the file; says which are.
        SupcrdError: the packages are not installed.
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")
    check_layers(source, about.float_layers)
    with TemporaryDirectory() as folder, quiet():
        prepared, raw = Path(folder, "prepared.onnx"), Path(folder, "made.onnx")
        need("onnxruntime.quantization.shape_inference").quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            raw,
            _reader(quantization, batches),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[*about.float_layers, *_biases(source, about.float_layers)],
            calibrate_method=quantization.CalibrationMethod.MinMax,
            # else a ReLU is left to the rounding after it, and `_keep` takes both away
            extra_options={"QDQKeepRemovableActivations": True},
        )
        model = onnx.load(raw)
        _keep(model, about.float_layers)
        _round_once(model)
        files.save(model, about, path)


def _biases(source: Path, layers: Sequence[str]) -> list[str]:
    """Names of the nodes that add the biases of layers: linear ones on more than two dimensions have a node for it."""
    graph = need("onnx").load(source, load_external_data=False).graph
    constants = {value.name for value in graph.initializer}
    given = {name for node in graph.node if node.name in layers for name in node.output}
    additions = [node for node in graph.node if node.op_type == "Add"]
    return [node.name for node in additions if given & set(node.input) and constants & set(node.input)]


def _keep(model: Any, layers: Sequence[str]) -> None:
    """Let layers that stay in float32 read their input before it is rounded.

    onnxruntime takes a layer between rounded activations to be one that was meant to compute in 8 bits, and rounds its
    weights when it loads the file, with one scale for all of its channels.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        back = producers.get(node.input[0]) if node.name in layers else None
        if back is not None and back.op_type == "DequantizeLinear" and back.input[0] in producers:
            node.input[0] = producers[back.input[0]].input[0]
    _remove_unread(model)


def _round_once(model: Any) -> None:
    """Take out each ReLU whose inputs are rounded to numbers that are not negative, and the rounding after it.

    Both change nothing where it rounds as the one before it, and onnxruntime would run them in float32.
    """
    constants = {value.name: need("onnx.numpy_helper").to_array(value) for value in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}

    def rounding(node: Any) -> list[Any]:
        return [(name if name not in constants else constants[name].tobytes()) for name in node.input[1:]]

    for relu in [node for node in model.graph.node if node.op_type == "Relu"]:
        before = producers.get(relu.input[0])
        after = readers.get(relu.output[0], [])
        if before is None or before.op_type != "DequantizeLinear" or relu.output[0] in outputs:
            continue
        zero = constants.get(before.input[2]) if len(before.input) > 2 else None
        if zero is None or zero.dtype != np.uint8 or zero != 0:
            continue
        if any(node.op_type != "QuantizeLinear" or rounding(node) != rounding(before) for node in after):
            continue
        for again in after:
            for node in readers.get(again.output[0], []):
                node.input[0] = before.input[0]
    _remove_unread(model)


def _remove_unread(model: Any) -> None:
    """Take out what nothing reads."""
    while True:
        read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
        unread = [node for node in model.graph.node if not read & set(node.output)]
        if not unread:
            return
        for node in unread:
            model.graph.node.remove(node)


def check_layers(path: Path, names: Sequence[str]) -> None:
    """Refuse names that no layer of a file has.

    Raises:
        CheckpointError: says which layers there are.
    """
    layers = layer_names(path)
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise CheckpointError(f"--keep {unknown[0]:.80} is no layer; it has {', '.join(layers):.160}")


def layer_names(path: Path) -> list[str]:
    """The layers with weights of a file that `files.write` wrote, in the order in which they are computed."""
    model = need("onnx").load(path, load_external_data=False)
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]


def _reader(quantization: Any, batches: Iterable[NDArray[Any]]) -> Any:
    """Calibration images as onnxruntime asks for them."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(batches)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self.rest, None)
            return None if batch is None else {files.IMAGES: batch}

    return Reader()


def signal_to_noise(logits: NDArray[Any], quantised: NDArray[Any]) -> float:
    """10 log10 of signal to quantisation noise, in dB.

    Example:
        >>> round(signal_to_noise(np.array([1.0, 1.0]), np.array([1.1, 0.9])), 3)
        20.0
    """
    noise = float(np.square(logits - quantised).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(np.square(logits).sum() / noise))


def sensitive(
    plain: Path, source: Path, about: About, batches: Sequence[NDArray[Any]], logits: Any, count: int = 3
) -> list[tuple[str, float]]:
    """The layers whose return to float32 brings the logits nearest to those of the float32 file.

    Args:
        plain: the float32 file.
        source, about, batches: as of `quantise`; the source may have its weights rounded.
        logits: a function from a file to its logits of some images.
        count: of layers to name.

    Returns:
        Names and signal-to-noise ratio in dB with that layer alone in float32, the best first.
    """
    right = logits(plain)
    ratios: list[tuple[str, float]] = []
    with TemporaryDirectory() as folder:
        for name in layer_names(source):
            if name in about.float_layers:
                continue
            path = Path(folder, "one.onnx")
            quantise(source, replace(about, float_layers=(*about.float_layers, name)), batches, path)
            ratios.append((name, signal_to_noise(right, logits(path))))
    return sorted(ratios, key=lambda pair: -pair[1])[:count]
