"""Convolutions, plain and transposed, and the layers that reshape around them."""

from typing import Any

from tests.scratchnet.blocks.contract import Case, normal

SEQUENCES: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[int, ...]]] = {
    "plain": ((2, 3, 3), {}, (2, 7)),
    "stride, padding": ((2, 3, 4), {"stride": 3, "padding": 2}, (2, 8)),
    "dilation": ((2, 3, 3), {"dilation": 3, "padding": 1}, (2, 7)),
    "same, even kernel": ((2, 3, 4), {"padding": "same", "dilation": 2}, (2, 9)),
    "valid": ((2, 3, 2), {"padding": "valid"}, (2, 5)),
    "stride over kernel": ((2, 3, 2), {"stride": 4}, (2, 11)),
    "groups": ((4, 6, 3), {"groups": 2, "padding": 1}, (4, 5)),
    "depthwise": ((3, 3, 2), {"groups": 3, "bias": False}, (3, 6)),
    "padding beyond the kernel": ((1, 2, 2), {"padding": 3}, (1, 4)),
    "one window": ((2, 3, 5), {}, (2, 5)),
}
IMAGES: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "plain": ((2, 3, 3), {}, (2, 5, 4)),
    "padding": ((1, 3, 3), {"padding": 1}, (1, 5, 4)),
    "no bias": ((2, 3, 2), {"bias": False}, (2, 3, 4)),
    "asymmetric": (
        (2, 3, (3, 2)),
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
        (2, 6, 5),
    ),
    "stride over kernel": ((2, 3, 2), {"stride": 3}, (2, 7, 6)),
    "same": ((2, 3, (3, 4)), {"padding": "same", "dilation": (1, 2)}, (2, 4, 5)),
    "valid": ((2, 3, (1, 3)), {"padding": "valid"}, (2, 4, 5)),
    "one tap": ((3, 4, 1), {}, (3, 3, 4)),
    "one tap, stride": ((3, 4, 1), {"stride": 2}, (3, 4, 5)),
    "patches": ((2, 5, 2), {"stride": 2}, (2, 4, 6)),
    "groups": ((4, 2, 3), {"groups": 2, "padding": 1, "stride": 2}, (4, 5, 4)),
    "depthwise": ((3, 6, 3), {"groups": 3, "padding": 1}, (3, 4, 4)),
    # From here on channels are long runs of memory, which are copied in another order.
    "many channels": ((17, 2, 3), {"padding": 1}, (17, 3, 4)),
    "many channels, stride": ((17, 3, (2, 3)), {"padding": (0, 1), "stride": 2}, (17, 4, 5)),
    "many channels, groups": ((34, 4, 2), {"groups": 2, "dilation": 2}, (34, 4, 3)),
}
SEQUENCES_BACK: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[int, ...]]] = {
    "plain": ((2, 3, 3), {}, (2, 5)),
    "stride, padding": ((2, 3, 4), {"stride": 2, "padding": 1}, (2, 5)),
    "output padding": ((2, 3, 3), {"stride": 3, "output_padding": 2, "padding": 1}, (2, 4)),
    "output padding within the dilation": (
        (2, 3, 3),
        {"dilation": 3, "output_padding": 2, "padding": 1},
        (2, 4),
    ),
    "groups": ((4, 6, 2), {"groups": 2, "stride": 3}, (4, 3)),
    "one to one": ((2, 2, 1), {"bias": False}, (2, 4)),
    "padding beyond the kernel": ((2, 3, 2), {"padding": 2}, (2, 6)),
}
IMAGES_BACK: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    "plain": ((2, 3, 3), {}, (2, 3, 4)),
    "twice as large": ((2, 3, 2), {"stride": 2}, (2, 3, 2)),
    "asymmetric": (
        (2, 3, (3, 2)),
        {"stride": (2, 3), "padding": (1, 0), "dilation": (2, 1), "output_padding": (1, 2)},
        (2, 3, 4),
    ),
    "no bias": ((2, 3, 3), {"bias": False, "padding": 1}, (2, 3, 4)),
    "output padding within the dilation": ((2, 3, 2), {"dilation": 2, "output_padding": (1, 0)}, (2, 3, 2)),
    "depthwise": ((3, 3, 3), {"groups": 3, "stride": 2, "padding": 1}, (3, 3, 3)),
    "many channels": ((17, 18, 3), {"stride": 2, "padding": 1}, (17, 2, 3)),
}
TABLES: dict[str, dict[str, Any]] = {
    "Conv1d": SEQUENCES,
    "Conv2d": IMAGES,
    "ConvTranspose1d": SEQUENCES_BACK,
    "ConvTranspose2d": IMAGES_BACK,
}


def _case(block: str, name: str, arguments: Any, options: Any, shape: tuple[int, ...]) -> Case:
    return Case(
        block,
        lambda nn: getattr(nn, block)(*arguments, **options),
        lambda batch: (normal(batch, *shape),),
        name,
        modes=("train",),
    )


CASES = [
    *(
        _case(block, name, arguments, options, shape)
        for block, table in TABLES.items()
        for name, (arguments, options, shape) in table.items()
    ),
    Case("Conv1d", lambda nn: nn.Conv1d(2, 3, 2), lambda _: (normal(2, 5),), "no batch", batches=()),
    Case("Conv2d", lambda nn: nn.Conv2d(2, 3, 2), lambda _: (normal(2, 3, 5),), "no batch", batches=()),
    Case(
        "ConvTranspose2d",
        lambda nn: nn.ConvTranspose2d(2, 3, 2, stride=2),
        lambda _: (normal(2, 3, 2),),
        "no batch",
        batches=(),
    ),
    Case(
        "Conv2d",
        lambda nn: nn.Sequential(
            nn.Conv2d(1, 17, 3, padding=1), nn.Tanh(), nn.Conv2d(17, 2, 3, padding=1), nn.Flatten()
        ),
        lambda batch: (normal(batch, 1, 4, 3),),
        "one after another",
    ),
    Case("Flatten", lambda nn: nn.Flatten(), lambda batch: (normal(batch, 2, 3, 2),)),
    Case("Flatten", lambda nn: nn.Flatten(2, 3), lambda batch: (normal(batch, 2, 3, 2, 2),), "inner axes"),
    Case("Unflatten", lambda nn: nn.Unflatten(1, (2, 3)), lambda batch: (normal(batch, 6, 2),)),
    Case("Unflatten", lambda nn: nn.Unflatten(-1, (2, -1)), lambda batch: (normal(batch, 6),), "the rest"),
]
