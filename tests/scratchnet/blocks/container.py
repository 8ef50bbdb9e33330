"""Containers that compute."""

from collections import OrderedDict
from typing import Any

from tests.scratchnet.blocks.contract import Case, normal


def _residual(nn: Any) -> Any:
    """PyTorch has no such block."""

    class Block(nn.Sequential):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    return Block(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4))


CASES = [
    Case(
        "Sequential",
        lambda nn: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)),
        lambda batch: (normal(batch, 4),),
    ),
    Case(
        "Sequential",
        lambda nn: nn.Sequential(OrderedDict([("first", nn.Linear(4, 5)), ("second", nn.Linear(5, 2))])),
        lambda batch: (normal(batch, 4),),
        "named",
    ),
    Case(
        "Sequential",
        lambda nn: nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 4), nn.Linear(4, 2))[1:],
        lambda batch: (normal(batch, 4),),
        "sliced",
    ),
    Case(
        "Sequential",
        lambda nn: nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)).append(nn.Tanh()).insert(1, nn.Sigmoid()),
        lambda batch: (normal(batch, 4),),
        "grown",
    ),
    Case(
        "Residual",
        lambda nn: nn.Residual(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4)),
        lambda batch: (normal(batch, 4),),
        twin=_residual,
    ),
]
