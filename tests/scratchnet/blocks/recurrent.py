"""Recurrent layers and cells."""

from typing import Any

from tests.scratchnet.blocks.contract import Case, normal

# Both modes are asked of one case a block: without dropout they compute the same.
ONE_MODE: Any = {"modes": ("train",)}
STEPS = 3
LAYERS: dict[str, dict[str, Any]] = {
    "two layers": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "no bias": {"bias": False},
}


def _layer(block: str, **options: Any) -> Any:
    return lambda nn: getattr(nn, block)(3, 2, **options)


def _sequence(batch: int) -> tuple[Any, ...]:
    return (normal(STEPS, batch, 3),)


def _layers_of(block: str) -> list[Case]:
    """All that a layer does when it starts from zero."""
    return [
        Case(block, _layer(block), _sequence),
        *(
            Case(block, _layer(block, **options), _sequence, name, **ONE_MODE)
            for name, options in LAYERS.items()
        ),
        Case(
            block,
            _layer(block, batch_first=True, bidirectional=True),
            lambda batch: (normal(batch, STEPS, 3),),
            "batch first",
            **ONE_MODE,
        ),
        Case(block, _layer(block), lambda batch: (normal(1, batch, 3),), "one step", **ONE_MODE),
        # The size is that of the sequence here, and none is an error on both sides.
        Case(
            block, _layer(block, num_layers=2), lambda steps: (normal(steps, 3),), "one example", **ONE_MODE
        ),
        Case(
            block,
            _layer(block, num_layers=2, dropout=0.5),
            _sequence,
            "dropout at rest",
            modes=("eval",),
        ),
    ]


def _started(block: str, *sizes: int) -> dict[str, Any]:
    """Beside the sequence, an initial state of each of the sizes in front of its batch."""
    return {
        **ONE_MODE,
        "block": block,
        "inputs": lambda batch: (
            normal(STEPS, batch, 3),
            *(normal(size, batch, 2, seed=number) for number, size in enumerate(sizes)),
        ),
    }


def _with_pair(block: Any, x: Any, h: Any, c: Any) -> Any:
    return block(x, (h, c))


STARTED = [
    Case(make=_layer("RNN"), name="started", **_started("RNN", 1)),
    Case(
        make=_layer("RNN", num_layers=2, bidirectional=True),
        name="two layers, bidirectional, started",
        **_started("RNN", 4),
    ),
    Case(make=_layer("GRU"), name="started", **_started("GRU", 1)),
    Case(
        make=_layer("GRU", num_layers=2, bidirectional=True),
        name="two layers, bidirectional, started",
        **_started("GRU", 4),
    ),
    Case(make=_layer("LSTM"), name="started", call=_with_pair, **_started("LSTM", 1, 1)),
    Case(
        make=_layer("LSTM", num_layers=2, bidirectional=True),
        name="two layers, bidirectional, started",
        call=_with_pair,
        **_started("LSTM", 4, 4),
    ),
    Case(
        "LSTM",
        _layer("LSTM", batch_first=True),
        lambda steps: (normal(steps, 3), normal(1, 2), normal(1, 2, seed=1)),
        "one example, started",
        call=_with_pair,
        **ONE_MODE,
    ),
]
RECTIFIED = [
    Case("RNN", _layer("RNN", nonlinearity="relu"), _sequence, "relu", **ONE_MODE),
    Case(
        "RNN",
        lambda nn: nn.RNN(3, 2, 2, "relu", False, True),
        lambda b: (normal(b, 2, 3),),
        "by position",
        **ONE_MODE,
    ),
]


def _cells_of(block: str, states: int, call: Any) -> list[Case]:
    def start(*batch: int) -> tuple[Any, ...]:
        return tuple(normal(*batch, 2, seed=number) for number in range(states))

    return [
        Case(block, _layer(block), lambda batch: (normal(batch, 3),)),
        Case(
            block, _layer(block, bias=False), lambda batch: (normal(batch, 3), *start(batch)), "started", call
        ),
        Case(
            block, _layer(block), lambda _: (normal(3), *start()), "one example", call, batches=(), **ONE_MODE
        ),
    ]


def _plainly(block: Any, *inputs: Any) -> Any:
    return block(*inputs)


CELLS = [
    *_cells_of("RNNCell", 1, _plainly),
    *_cells_of("GRUCell", 1, _plainly),
    *_cells_of("LSTMCell", 2, _with_pair),
    Case(
        "RNNCell",
        _layer("RNNCell", nonlinearity="relu"),
        lambda batch: (normal(batch, 3),),
        "relu",
        **ONE_MODE,
    ),
]

CASES = _layers_of("RNN") + _layers_of("LSTM") + _layers_of("GRU") + STARTED + RECTIFIED + CELLS
