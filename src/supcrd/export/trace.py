"""Tracing a network by `torch.export`, and the module to name where that fails."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from supcrd.errors import CheckpointError

T = TypeVar("T")


def traced(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The program of a network of one input, for any batch size.

    Args:
        network: in eval mode, on the CPU.
        example: (B, ...) with B > 1, which is taken to be any number.

    Raises:
        CheckpointError: something in it cannot be traced; names the module.

    Example:
        >>> program = traced(nn.Linear(3, 2), torch.zeros(2, 3))
        >>> program.module()(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """
    return checked(network, example, _program)


def checked(network: nn.Module, example: Tensor, make: Callable[[nn.Module, Tensor], T]) -> T:
    """`make(network, example)`, quietly; where that fails, an error that names the innermost module that fails alone.

    Raises:
        CheckpointError: see above.
    """
    try:
        with quiet():
            return make(network, example)
    except Exception as error:  # exporters raise errors of many kinds
        with quiet():
            name, module = culprit(network, example, make)
        where = f"{name} ({type(module).__name__})" if name else type(module).__name__
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CheckpointError(f"{where} cannot be exported: {said:.120}") from error


def culprit(network: nn.Module, example: Tensor, make: Callable[[nn.Module, Tensor], Any]) -> tuple[str, nn.Module]:
    """Name and module of the innermost module of one input tensor that `make` fails with."""
    given: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if len(inputs) == 1 and isinstance(inputs[0], Tensor):
                given.setdefault(name, inputs[0].detach())

        return hook

    handles = [module.register_forward_pre_hook(remember(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(example)
    except Exception:  # then what ran before it is known
        pass
    finally:
        for handle in handles:
            handle.remove()
    name, module = "", network
    while True:
        children = ((f"{name}.{child}".lstrip("."), inside) for child, inside in module.named_children())
        failing = next((pair for pair in children if pair[0] in given and _fails(pair[1], given[pair[0]], make)), None)
        if failing is None:
            return name, module
        name, module = failing


def _fails(module: nn.Module, example: Tensor, make: Callable[[nn.Module, Tensor], Any]) -> bool:
    try:
        make(module, example)
    except Exception:
        return True
    return False


def _program(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' own warnings, log and prints, which say what their authors have to do."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
