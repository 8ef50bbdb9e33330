"""Averages of weights over a training."""

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from scratchnet.nn.module import Module
from scratchnet.tape import Array

AnyModule = TypeVar("AnyModule", bound=Module)


class EMA(Generic[AnyModule]):
    """Exponential moving average of a model's weights: a ← d a + (1 − d) w after each update.

    The first update copies the weights, so that no bias remains to be corrected; buffers are copied every
    time. An average of the last 1 / (1 − d) updates often generalises better than the last weights, and
    misleads where the weights still move fast: it then lags behind. This is PyTorch's ``AveragedModel``
    with ``get_ema_multi_avg_fn``.

    Args:
        model: Whose weights to average.
        decay: d in [0, 1].

    Attributes:
        model: A copy in evaluation mode with the averaged weights.
        n_averaged: Updates so far.

    Raises:
        ValueError: If ``decay`` is out of range.

    Example:
        >>> from scratchnet import nn
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = EMA(model, decay=0.75)
        >>> for value in (1.0, 2.0):
        ...     model.weight.array[...] = value
        ...     average.update()
        >>> average.model.weight.numpy()
        array([[1.25]], dtype=float32)

    References:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    def __init__(self, model: AnyModule, decay: float = 0.999) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"EMA needs decay in [0, 1], got decay={decay}")
        self.decay = decay
        self.n_averaged = 0
        self._source = model
        self.model = copy.deepcopy(model).eval()
        self.model.zero_grad()

    def update(self) -> None:
        """Takes the model's present weights in; call it after the optimiser's step."""
        weight = 1.0 if self.n_averaged == 0 else 1.0 - self.decay
        pairs = zip(self.model.parameters(), self._source.parameters(), strict=True)
        for average, parameter in pairs:
            _move_towards(average.array, parameter.array, weight)
        buffers = zip(self.model.named_buffers(), self._source.named_buffers(), strict=True)
        for (_, copied), (_, buffer) in buffers:
            copied[...] = buffer
        self.n_averaged += 1

    def state_dict(self) -> dict[str, Array]:
        """A copy of the averaged model's state, with PyTorch's keys: ``module.`` before each name."""
        state = {f"module.{name}": array for name, array in self.model.state_dict().items()}
        return {"n_averaged": np.array(self.n_averaged), **state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where another average stood; the model that is averaged has its own state.

        Args:
            state_dict: What `state_dict` gave there, or PyTorch's ``AveragedModel``.

        Raises:
            KeyError: If names are missing or unknown; nothing is changed then.
            ValueError: If a shape does not fit; nothing is changed then.
        """
        if "n_averaged" not in state_dict:
            raise KeyError(f'EMA needs a state with "n_averaged", got {sorted(state_dict)}')
        arrays = {name.removeprefix("module."): array for name, array in state_dict.items()}
        count = int(arrays.pop("n_averaged"))
        self.model.load_state_dict(arrays)
        self.n_averaged = count


def _move_towards(average: Array, target: Array, weight: float) -> None:
    """Moves an array by a share of the way to another, in place; exactly onto it for a share of one."""
    if weight == 1:
        average[...] = target
        return
    way = np.subtract(target, average, dtype=average.dtype)
    way *= weight
    average += way
