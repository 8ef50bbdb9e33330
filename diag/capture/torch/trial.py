"""Experiments on a PyTorch model, which find it afterwards as it was."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from diag.capture.torch.curvature import undisturbed
from diag.capture.torch.ears import unheard
from diag.capture.torch.layers import unwrapped
from diag.capture.torch.tensors import first_tensor, shards_of
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


class Trial:
    """A PyTorch model under experiment; see `diag.capture.trial`.

    Compiled code runs uncompiled. Weights of half precision are moved in single precision and rounded
    for each run.
    """

    def __init__(
        self, model: nn.Module, criterion: Callable[..., Any], optimizer: torch.optim.Optimizer | None
    ) -> None:
        if any(shards_of(parameter) > 1 for parameter in model.parameters()):
            raise ValueError(
                "verify needs a model whose parameters lie on this rank whole, got one that is sharded; "
                "verify an unsharded copy of it"
            )
        self._model = unwrapped(model)
        self._criterion = criterion
        self._optimizer = optimizer
        self._parameters = moved(self._model, optimizer)
        self.spans = spans_of({name: parameter.numel() for name, parameter in self._parameters.items()})
        self.precision = max(torch.finfo(p.dtype).eps for p in self._parameters.values())
        self._kept = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.weights: Numbers = _flat(list(self._kept.values()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._kept[name])

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
        with unheard(), _plainly(), torch.set_grad_enabled(wants_gradient):
            output = applied(self._model, batch.x)
            loss = self._criterion(output, batch.y)
            check_loss(tuple(loss.shape))
            gradient = self._gradient(loss) if wants_gradient else np.empty(0)
        spoken = first_tensor(output)
        return Outcome(
            np.empty(0)
            if spoken is None
            else _flat([spoken.detach()]).astype(np.float64).reshape(spoken.shape),
            loss.item(),
            gradient,
        )

    def next_update(self, gradient: Numbers) -> Numbers | None:
        """See `diag.capture.trial`."""
        if self._optimizer is None or _needs_closure(self._optimizer):
            return None
        twin, twins = copied(self._optimizer, self._parameters)
        twin.zero_grad()
        with torch.no_grad():
            for name, parameter in twins.items():
                parameter.copy_(self._kept[name])
        for name, parameter in twins.items():
            parameter.grad = _like(parameter, gradient[self.spans[name]])
        twin.step()
        return _flat([twins[name].detach() - kept for name, kept in self._kept.items()])

    def zeroed(self, x: Any) -> Any:
        """See `diag.capture.trial`."""
        return each(torch.zeros_like, x)

    def _gradient(self, loss: torch.Tensor) -> Numbers:
        parameters = list(self._parameters.values())
        if not loss.requires_grad:
            # A loss that nothing leads to has a gradient all the same: zero.
            return np.zeros_like(self.weights)
        return _flat(list(torch.autograd.grad(loss, parameters, materialize_grads=True)))

    def _place(self, weights: Numbers) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(_like(parameter, weights[self.spans[name]]))


@contextmanager
def _plainly() -> Iterator[None]:
    """Uncompiled; and recurrent layers by code that knows a backward pass in evaluation mode."""
    with torch.compiler.set_stance("force_eager"), torch.backends.cudnn.flags(enabled=False):
        yield


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _flat(tensors: list[torch.Tensor]) -> Numbers:
    """Side by side on the host, in the widest type among them and at least in single precision."""
    wide = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    return torch.cat([tensor.reshape(-1).to("cpu", wide) for tensor in tensors]).numpy()


def _like(parameter: torch.Tensor, part: Numbers) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(part)).reshape(parameter.shape).to(parameter)
