"""The same small networks in both frameworks, and what a verification must leave alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import scratchnet as sn

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((48, 6)).astype(np.float32)
# Which of three fixed directions an example points at most: a class that a small network can learn.
LABELS = (INPUTS @ np.random.default_rng(1).standard_normal((6, 3))).argmax(axis=1)


@dataclass(frozen=True)
class Framework:
    """What a test needs of scratchnet or PyTorch to say the same thing in both."""

    nn: Any
    optim: Any
    array: Callable[[Any], Any]
    detached: Callable[[Any], Any]
    fill: Callable[[Any, float], Any]

    @property
    def batch(self) -> tuple[Any, Any]:
        return self.array(INPUTS), self.array(LABELS)

    def layer(self, function: Callable[[Any], Any]) -> Any:
        """A module that does this."""

        class Layer(self.nn.Module):  # type: ignore[name-defined, misc]
            def forward(self, x: Any) -> Any:
                return function(x)

        return Layer()

    def mlp(self, *before: Any) -> Any:
        nn = self.nn
        rng = {"rng": 0} if self.nn is sn.nn else {}
        return nn.Sequential(*before, nn.Linear(6, 24, **rng), nn.Tanh(), nn.Linear(24, 3, **rng))


def scratchnet() -> Framework:
    return Framework(
        sn.nn,
        sn.optim,
        np.asarray,
        lambda tensor: sn.Tensor(np.array(tensor.numpy())),
        lambda holder, value: getattr(holder, "array", holder).fill(value),
    )


def pytorch() -> Framework:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return Framework(
        torch.nn,
        torch.optim,
        torch.from_numpy,
        lambda tensor: tensor.detach(),
        lambda holder, value: holder.detach().fill_(value),
    )


@pytest.fixture(params=[scratchnet, pytorch], ids=["scratchnet", "torch"])
def framework(request: pytest.FixtureRequest) -> Framework:
    return request.param()
