"""Batch, group and instance normalisation; layer normalisation has a table of its own."""

from collections.abc import Callable
from typing import Any

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, normal


def _of(*shape: int) -> Callable[[int], tuple[Array]]:
    """Numbers away from mean 0 and variance 1, which hide mistakes."""
    return lambda batch: (normal(batch, *shape) * 2 + 3,)


def _one(batch: int) -> tuple[Array]:
    return (normal(4, 5) * (batch + 1),)


def _call_with_channels_last(block: Any, x: Any) -> Any:
    """An image whose memory holds the channels of a position side by side, as a convolution leaves it."""
    return block((x * 2.0).reshape(-1, 2, 3, 4).transpose(0, 3, 1, 2))


def _torch_with_channels_last(block: Any, x: Any) -> Any:
    if hasattr(x, "permute"):
        return block((x * 2.0).reshape(-1, 2, 3, 4).permute(0, 3, 1, 2))
    return _call_with_channels_last(block, x)


def _twice(block: Any, x: Any) -> Any:
    """Once more, on other data, so that the running statistics have a past."""
    block(x * 3.0 + 1.0)
    return block(x)


BATCH = [
    Case("BatchNorm1d", lambda nn: nn.BatchNorm1d(4), _of(4)),
    Case("BatchNorm1d", lambda nn: nn.BatchNorm1d(4), _of(4, 5), "space"),
    Case("BatchNorm1d", lambda nn: nn.BatchNorm1d(4, affine=False), _of(4), "not affine"),
    Case("BatchNorm1d", lambda nn: nn.BatchNorm1d(4, momentum=None), _of(4), "plain average", call=_twice),
    Case("BatchNorm2d", lambda nn: nn.BatchNorm2d(4), _of(4, 2, 3)),
    Case(
        "BatchNorm2d", lambda nn: nn.BatchNorm2d(4), _of(24), "channels last", call=_torch_with_channels_last
    ),
    Case("BatchNorm2d", lambda nn: nn.BatchNorm2d(4), _of(4, 1, 1), "one position"),
    Case(
        "BatchNorm2d",
        lambda nn: nn.BatchNorm2d(4, eps=0.1, momentum=0.5, affine=False),
        _of(4, 2, 3),
        "arguments",
        call=_twice,
    ),
    Case(
        "BatchNorm2d",
        lambda nn: nn.BatchNorm2d(4, track_running_stats=False),
        _of(4, 2, 3),
        "no running statistics",
    ),
]
INSTANCE = [
    Case("InstanceNorm1d", lambda nn: nn.InstanceNorm1d(4), _of(4, 5)),
    Case("InstanceNorm1d", lambda nn: nn.InstanceNorm1d(4, affine=True), _one, "one example"),
    Case("InstanceNorm2d", lambda nn: nn.InstanceNorm2d(4, affine=True), _of(4, 2, 3)),
    Case(
        "InstanceNorm2d",
        lambda nn: nn.InstanceNorm2d(4),
        _of(24),
        "channels last",
        call=_torch_with_channels_last,
    ),
    Case(
        "InstanceNorm2d",
        lambda nn: nn.InstanceNorm2d(4, eps=0.1, momentum=0.3, affine=True, track_running_stats=True),
        _of(4, 2, 3),
        "running statistics",
        call=_twice,
    ),
]
GROUP = [
    Case("GroupNorm", lambda nn: nn.GroupNorm(2, 6), _of(6, 2, 3)),
    Case("GroupNorm", lambda nn: nn.GroupNorm(3, 6, eps=0.1, affine=False), _of(6, 5), "not affine"),
    Case("GroupNorm", lambda nn: nn.GroupNorm(2, 6), _of(6), "features"),
    Case(
        "GroupNorm", lambda nn: nn.GroupNorm(1, 4), _of(24), "channels last", call=_torch_with_channels_last
    ),
    Case(
        "GroupNorm",
        lambda nn: nn.GroupNorm(2, 4),
        _of(24),
        "two, channels last",
        call=_torch_with_channels_last,
    ),
]
LOCAL = [
    Case("LocalResponseNorm", lambda nn: nn.LocalResponseNorm(3, alpha=0.5), _of(5, 2, 3)),
    Case("LocalResponseNorm", lambda nn: nn.LocalResponseNorm(4, 0.3, 1.5, 2.0), _of(5, 4), "even window"),
]

CASES = BATCH + INSTANCE + GROUP + LOCAL
