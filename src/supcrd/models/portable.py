"""A model on its way to another process: packed as arguments and weights, built there when it is asked for."""

from typing import Any

from supcrd.base.seeding import forked
from supcrd.models.model import Model
from supcrd.models.normalised import Normalised


class Portable:
    """A model with its normalisation, whose pickled form is the constructor's arguments and the weights.

    It is built only when it is first asked for, so that plug-ins which register its architecture can be loaded before.

    Example:
        >>> import pickle
        >>> import torch
        >>> model = Model(2, "resnet8", image_size=8)
        >>> other = pickle.loads(pickle.dumps(Portable(Normalised(model, (0.5,), (0.2,)))))
        >>> other.subject.std, torch.equal(other.subject.model.classifier.weight, model.classifier.weight)
        ((0.2,), True)
    """

    def __init__(self, subject: Normalised) -> None:
        self._subject: Normalised | None = subject
        self._packed: tuple[Any, ...] = ()

    @property
    def subject(self) -> Normalised:
        """The model, where it came from itself; elsewhere one of the same weights, on the CPU."""
        if self._subject is None:
            config, state, mean, std = self._packed
            with forked():  # its first weights are drawn, and the caller's generators are not ours
                model = Model(**config)
            model.load_state_dict(state)
            self._subject = Normalised(model, mean, std)
        return self._subject

    def __getstate__(self) -> tuple[Any, ...]:
        """Arguments, weights on the CPU, mean and std."""
        model, mean, std = self.subject
        state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        return model.config(), state, mean, std

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._subject, self._packed = None, state
