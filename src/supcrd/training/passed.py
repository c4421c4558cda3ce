"""What the networks of a step gave, taken apart into tensors and put together from them."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from supcrd.training.objective.term import Outputs

ATTACHED, DETACHED = "attached", "detached"


class Passed(NamedTuple):
    """The outputs of a step's networks for a batch or a part of it."""

    attached: Outputs
    """the student's, through which its encoder gets a gradient"""
    detached: Outputs
    """the student's, through which only its heads get one"""
    taught: Mapping[str, Outputs]
    """teacher -> its own"""

    def tensors(self) -> dict[str, Tensor]:
        """Every output by a name of its own, without those that are others detached."""
        tensors = {f"{ATTACHED}/{name}": part for name, part in self.attached.tensors().items()}
        heads = self.detached.tensors().items()
        tensors |= {f"{DETACHED}/{name}": part for name, part in heads if name in ("projections", "logits")}
        for teacher, outputs in self.taught.items():
            tensors |= {f"{teacher}//{name}": part for name, part in outputs.tensors().items()}
        return tensors

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], teachers: tuple[str, ...]) -> "Passed":
        """From what `tensors` gives."""

        def chosen(start: str) -> dict[str, Tensor]:
            return {name.removeprefix(start): part for name, part in tensors.items() if name.startswith(start)}

        attached = chosen(f"{ATTACHED}/")
        apart = {name: part.detach() for name, part in attached.items() if name not in ("projections", "logits")}
        return cls(
            Outputs.of(attached),
            Outputs.of(apart | chosen(f"{DETACHED}/")),
            {name: Outputs.of(chosen(f"{name}//")) for name in teachers},
        )
