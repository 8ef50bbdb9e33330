"""Experiments on a scratchnet model; the twin of the trial for PyTorch."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np

import scratchnet as sn
from diag.capture.trial import (
    Batch,
    Mode,
    Numbers,
    Outcome,
    applied,
    check_loss,
    copied,
    each,
    moved,
    set_mode,
    spans_of,
)
from scratchnet.tape import recording
from scratchnet.undisturbed import undisturbed


class Trial:
    """A scratchnet model under experiment; see `diag.capture.trial`."""

    def __init__(
        self, model: sn.nn.Module, criterion: Callable[..., Any], optimizer: sn.optim.Optimizer | None
    ) -> None:
        self._model = model
        self._criterion = criterion
        self._optimizer = optimizer
        self._parameters = moved(model, optimizer)
        self.spans = spans_of({name: parameter.size for name, parameter in self._parameters.items()})
        self.precision = max(float(np.finfo(p.dtype).eps) for p in self._parameters.values())
        self._kept = {name: parameter.array.copy() for name, parameter in self._parameters.items()}
        self.weights: Numbers = np.concatenate([array.ravel() for array in self._kept.values()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name, parameter in self._parameters.items():
            parameter.array[...] = self._kept[name]

    def run(
        self,
        batch: Batch,
        weights: Numbers | None = None,
        *,
        mode: Mode = "steady",
        wants_gradient: bool = False,
    ) -> Outcome:
        """See `diag.capture.trial`."""
        with undisturbed(self._model):
            return self._run(batch, self.weights if weights is None else weights, mode, wants_gradient)

    def training_losses(self, batch: Batch, passes: int) -> list[float]:
        """See `diag.capture.trial`."""
        with undisturbed(self._model):
            return [self._run(batch, self.weights, "training").loss for _ in range(passes)]

    def _run(self, batch: Batch, weights: Numbers, mode: Mode, wants_gradient: bool = False) -> Outcome:
        self._place(weights)
        set_mode(self._model, mode)
        # Weights may be moved to where numbers end: the loss says so, no warning need.
        with recording(wants_gradient), np.errstate(all="ignore"):
            output = applied(self._model, batch.x)
            loss = self._criterion(output, batch.y)
            check_loss(np.shape(loss))
            gradient = self._gradient(loss) if wants_gradient else np.empty(0)
        spoken = output[0] if isinstance(output, tuple) else output
        return Outcome(np.asarray(spoken, np.float64), np.asarray(loss).item(), gradient)

    def next_update(self, gradient: Numbers) -> Numbers | None:
        """See `diag.capture.trial`."""
        if self._optimizer is None or self._optimizer.needs_closure:
            return None
        twin, twins = copied(self._optimizer, self._parameters)
        twin.zero_grad()
        for name, parameter in twins.items():
            parameter.array[...] = self._kept[name]
            parameter.grad = parameter.make(gradient[self.spans[name]].reshape(parameter.shape), None)
        twin.step()
        return np.concatenate([(twins[name].array - kept).ravel() for name, kept in self._kept.items()])

    def zeroed(self, x: Any) -> Any:
        """See `diag.capture.trial`."""
        return each(lambda array: np.zeros_like(np.asarray(array)), x)

    def _gradient(self, loss: Any) -> Numbers:
        parameters = list(self._parameters.values())
        if not np.isfinite(np.asarray(loss)).all():
            return np.full_like(self.weights, np.nan)
        # A loss that nothing leads to has a gradient all the same: zero.
        depends = getattr(loss, "requires_grad", False)
        found = sn.grad(loss, parameters, allow_unused=True) if depends else [None] * len(parameters)
        return np.concatenate(
            [
                np.zeros(parameter.size, parameter.dtype) if part is None else part.array.ravel()
                for parameter, part in zip(parameters, found, strict=True)
            ]
        )

    def _place(self, weights: Numbers) -> None:
        for name, parameter in self._parameters.items():
            parameter.array[...] = weights[self.spans[name]].reshape(parameter.shape)
