"""Recurrent layers as primitives."""

from typing import Any

from scratchnet.ops.gru import gru
from scratchnet.ops.lstm import lstm
from scratchnet.ops.rnn import rnn
from tests.scratchnet.primitives.contract import case, normal


def _weights(gates: int, inputs: int, hidden: int) -> list[Any]:
    rows = gates * hidden
    return [normal(*size) * 0.5 for size in ((rows, inputs), (rows, hidden), (rows,), (rows,))]


# Steps, batch, inputs, hidden.
SIZES = {"several steps": (3, 2, 4, 3), "one step, one example, one unit": (1, 1, 2, 1)}
RNNS = [
    case(
        rnn,
        normal(steps, batch, inputs),
        normal(batch, hidden),
        *_weights(1, inputs, hidden),
        name=f"{nonlinearity}, {name}, {'backwards' if reverse else 'forwards'}",
        # A kink has no complex step.
        oracle="complex" if nonlinearity == "tanh" else "central",
        nonlinearity=nonlinearity,
        reverse=reverse,
    )
    for name, (steps, batch, inputs, hidden) in SIZES.items()
    for nonlinearity in ("tanh", "relu")
    for reverse in (False, True)
]
GRUS = [
    case(
        gru,
        normal(steps, batch, inputs),
        normal(batch, hidden),
        *_weights(3, inputs, hidden),
        name=f"{name}, {'backwards' if reverse else 'forwards'}",
        oracle="complex",
        reverse=reverse,
    )
    for name, (steps, batch, inputs, hidden) in SIZES.items()
    for reverse in (False, True)
]
LSTMS = [
    case(
        lstm,
        normal(steps, batch, inputs),
        normal(batch, hidden),
        *_weights(4, inputs, hidden),
        normal(batch, hidden),
        name=f"{name}, {'backwards' if reverse else 'forwards'}",
        oracle="complex",
        reverse=reverse,
    )
    for name, (steps, batch, inputs, hidden) in SIZES.items()
    for reverse in (False, True)
]
# The formula's sigmoid takes no complex numbers, which does not matter here: the raw function is made of tanh.
BARE = [
    case(
        rnn,
        normal(2, 2, 3),
        None,
        *_weights(1, 3, 2)[:2],
        None,
        None,
        name="bare",
        nonlinearity="tanh",
        reverse=False,
    ),
    case(gru, normal(2, 2, 3), None, *_weights(3, 3, 2)[:2], None, None, name="bare", reverse=False),
    case(lstm, normal(2, 2, 3), None, *_weights(4, 3, 2)[:2], None, None, None, name="bare", reverse=False),
]

CASES = RNNS + GRUS + LSTMS + BARE
