"""Pooling and resizing."""

from collections.abc import Callable
from typing import Any

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, distinct, normal

Table = dict[str, tuple[Any, dict[str, Any], tuple[int, ...]]]

MAX_LINES: Table = {
    "pairs": (2, {}, (2, 6)),
    "odd size": (2, {}, (2, 7)),
    "threes": (3, {}, (2, 9)),
    "overlapping": (3, {"stride": 1, "padding": 1}, (2, 5)),
    "dilation": (3, {"stride": 2, "dilation": 2, "padding": 1}, (2, 9)),
    "dilation, apart": (2, {"stride": 4, "dilation": 2}, (2, 9)),
    "ceil": (3, {"stride": 2, "ceil_mode": True}, (2, 6)),
    "stride over kernel": (2, {"stride": 3}, (2, 8)),
    "each": (1, {}, (2, 3)),
    "each third": (1, {"stride": 3}, (2, 8)),
    "all": (5, {}, (2, 5)),
}
MAX_IMAGES: Table = {
    "quads": (2, {}, (2, 4, 6)),
    "odd sizes": (2, {}, (2, 5, 3)),
    "overlapping": (3, {"stride": 2, "padding": 1}, (2, 5, 4)),
    "asymmetric": ((3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}, (2, 5, 4)),
    "ceil": (2, {"stride": 3, "ceil_mode": True}, (2, 5, 6)),
    "threes by twos": ((3, 2), {}, (2, 6, 4)),
}
AVERAGE_LINES: Table = {
    "pairs": (2, {}, (2, 7)),
    "overlapping": (3, {"stride": 2, "padding": 1}, (2, 6)),
    "without the padding": (3, {"stride": 1, "padding": 1, "count_include_pad": False}, (2, 5)),
    "ceil": (3, {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 6)),
    "ceil without the padding": (
        2,
        {"stride": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False},
        (2, 6),
    ),
}
AVERAGE_IMAGES: Table = {
    "quads": (2, {}, (2, 4, 5)),
    "asymmetric": ((3, 2), {"stride": (1, 2), "padding": (1, 0)}, (2, 4, 5)),
    "without the padding": ((2, 3), {"padding": (1, 1), "count_include_pad": False}, (2, 4, 5)),
    "ceil": (2, {"ceil_mode": True}, (2, 3, 5)),
    "another divisor": (2, {"divisor_override": 3}, (2, 4, 3)),
    "stride over kernel": (1, {"stride": 2}, (2, 4, 3)),
}
ADAPTIVE_LINES: Table = {
    "halves": (2, {}, (2, 6)),
    "uneven": (3, {}, (2, 7)),
    "one": (1, {}, (2, 5)),
    "more than there are": (5, {}, (2, 3)),
}
ADAPTIVE_IMAGES: Table = {
    "square": (2, {}, (2, 4, 6)),
    "uneven": ((2, 3), {}, (2, 5, 4)),
    "one": (1, {}, (2, 3, 5)),
    "keep one": ((None, 2), {}, (2, 3, 5)),
    "more than there are": ((3, 5), {}, (2, 2, 3)),
}
TABLES: dict[str, tuple[Table, Callable[..., Array]]] = {
    "MaxPool1d": (MAX_LINES, distinct),
    "MaxPool2d": (MAX_IMAGES, distinct),
    "AvgPool1d": (AVERAGE_LINES, normal),
    "AvgPool2d": (AVERAGE_IMAGES, normal),
    "AdaptiveAvgPool1d": (ADAPTIVE_LINES, normal),
    "AdaptiveAvgPool2d": (ADAPTIVE_IMAGES, normal),
    "AdaptiveMaxPool1d": (ADAPTIVE_LINES, distinct),
    "AdaptiveMaxPool2d": (ADAPTIVE_IMAGES, distinct),
}
RESIZED: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "twice": ({"scale_factor": 2}, (2, 3, 2)),
    "twice a sequence": ({"scale_factor": 2}, (2, 3)),
    "nearest, odd": ({"size": (5, 3)}, (2, 3, 4)),
    "nearest, half": ({"scale_factor": (0.5, 1.5)}, (2, 5, 3)),
    "nearest-exact": ({"size": 5, "mode": "nearest-exact"}, (2, 3, 7)),
    "linear": ({"scale_factor": 2, "mode": "linear"}, (2, 4)),
    "linear, corners": ({"size": 7, "mode": "linear", "align_corners": True}, (2, 4)),
    "linear, smaller": ({"size": 3, "mode": "linear"}, (2, 7)),
    "bilinear": ({"scale_factor": (2.0, 1.7), "mode": "bilinear", "align_corners": False}, (2, 3, 4)),
    "bilinear, corners": ({"size": (5, 2), "mode": "bilinear", "align_corners": True}, (2, 3, 4)),
    "bilinear, corners, one": ({"size": 1, "mode": "bilinear", "align_corners": True}, (2, 3, 2)),
    "bilinear, smaller": ({"size": (2, 3), "mode": "bilinear"}, (2, 5, 4)),
}


def _pool(block: str, name: str, values: Callable[..., Array], row: Any, batched: bool = True) -> Case:
    size, options, shape = row
    return Case(
        block,
        lambda nn: getattr(nn, block)(size, **options),
        lambda batch: (values(batch, *shape) if batched else values(*shape),),
        name,
        modes=("train",),
        batches=(1, 0) if batched else (),
    )


def _resize(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> Case:
    return Case(
        "Upsample",
        lambda nn: nn.Upsample(**options),
        lambda batch: (normal(batch, *shape),),
        name,
        modes=("train",),
    )


CASES = [
    *(
        _pool(block, name, values, row)
        for block, (table, values) in TABLES.items()
        for name, row in table.items()
    ),
    *(
        _pool(block, "no batch", values, next(iter(table.values())), batched=False)
        for block, (table, values) in TABLES.items()
    ),
    *(_resize(name, *row) for name, row in RESIZED.items()),
]
