"""What the three recurrent primitives share: how a sequence is laid out, and the sums over time at the end.

Inside the loops over time an array has the shape (features, batch): each gate is then one contiguous
block, and the product of a wide weight with a thin state is the shape that BLAS multiplies fastest.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchnet.ops.shape import reshape, take
from scratchnet.tape import Array, primitive


@primitive
def append(x: Any, y: Any, *, axis: int, size: int) -> Array:
    """z is x and then y along an axis, on which x has the given size; x̄ and ȳ are the two parts of z̄."""
    return np.concatenate((x, y), axis=axis)


def _part(z: Any, axis: int, *limits: int | None) -> Any:
    return take(z, index=(slice(None),) * axis + (slice(*limits),), shape=z.shape)


append.differentiate(
    lambda g, _z, _x, _y, axis, size: _part(g, axis, size),
    lambda g, _z, _x, _y, axis, size: _part(g, axis, size, None),
)


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    """All parts, one after the other along an axis that is counted from the front."""
    if len(parts) == 1:
        return parts[0]
    # Halves of halves, so that an element is copied log n times and not n times.
    half = len(parts) // 2
    first, rest = concatenate(parts[:half], axis), concatenate(parts[half:], axis)
    return append(first, rest, axis=axis, size=first.shape[axis])


def columns(x: Array, h: Array | None, hidden: int) -> Array:
    """For each step the column [x; h; 1] of each example, h of the first step alone being filled in.

    One product with `joined` weights is then everything that the gates need of a step, the biases too.
    There is one step more than in x, for the last h.
    """
    steps, batch, inputs = x.shape
    result = np.empty((steps + 1, inputs + hidden + 1, batch), x.dtype)
    result[:-1, :inputs] = x.transpose(0, 2, 1)
    result[0, inputs:-1] = 0 if h is None else h.T
    result[:, -1] = 1
    return result


def joined(weight_ih: Array, weight_hh: Array, bias_ih: Array | None, bias_hh: Array | None) -> Array:
    """The weight [W_ih, W_hh, b_ih + b_hh], by which a column of `columns` is multiplied."""
    rows, inputs = weight_ih.shape
    weight = np.empty((rows, inputs + weight_hh.shape[1] + 1), weight_ih.dtype)
    weight[:, :inputs] = weight_ih
    weight[:, inputs:-1] = weight_hh
    weight[:, -1] = 0 if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    return weight


def sigmoid_of_twice(x: Array) -> None:
    """Puts σ(2x) = (1 + tanh x) / 2 in place of x: NumPy's tanh is many times as fast as SciPy's expit."""
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5


def in_order(x: Any, reverse: bool) -> Any:
    """The steps in the order in which they are read, or put back from it."""
    return x[::-1] if reverse else x


def rows(states: Array, reverse: bool) -> Array:
    """States that were made as ``(steps, hidden, batch)``, in the order of reading, as an output."""
    return np.ascontiguousarray(in_order(states, reverse).transpose(0, 2, 1))


def blocks(x: Any, count: int) -> list[Any]:
    """The last of two axes cut into equal parts."""
    size = x.shape[1] // count
    return [_part(x, 1, start, start + size) for start in range(0, count * size, size)]


def unrolled(x: Any, h: Any, weight_hh: Any, step: Callable[[Any, Any], Any], reverse: bool) -> Any:
    """The states that ``step(input, state)`` runs through, one upon another: the textbook's recurrence."""
    state = np.zeros((x.shape[1], weight_hh.shape[1])) if h is None else h
    states = []
    for moment in in_order(range(len(x)), reverse):
        state = step(x[moment], state)
        states.append(reshape(state, shape=(1, *state.shape), original=state.shape))
    return concatenate(in_order(states, reverse), 0)


def sums_over_time(rows: int, steps: int, batch: int, dtype: np.dtype[Any]) -> Array:
    """Room for the gradients of ``rows`` sums, example after example and step after step."""
    # A few numbers more than wanted, for rows that lie a power of two apart compete for the same cache lines.
    return np.empty((rows, steps * batch + 16), dtype)[:, : steps * batch]


def input_gradients(
    of_input: Array,
    of_hidden: Array,
    of_first: Array,
    wanted: Sequence[bool],
    rooms: Sequence[Array | None],
    x: Array,
    h: Array | None,
    weight_ih: Array,
    states: Array,
    reverse: bool,
) -> list[Array | None]:
    """Gradients of x, h, W_ih, W_hh, b_ih and b_hh: one product each over all steps at once.

    Args:
        of_input: Gradient of W_ih x + b_ih, as `sums_over_time`, steps in the order of reading.
        of_hidden: Gradient of W_hh h + b_hh likewise; it may be the same array.
        of_first: Gradient of the initial state, shape ``(hidden, batch)``.
        wanted: Which of the six are wanted.
        rooms: Where to write them.
        x: Shape ``(steps, batch, inputs)``.
        h: Initial state, shape ``(batch, hidden)``, or None for zero.
        weight_ih: Shape ``(rows, inputs)``.
        states: The state after each step, shape ``(steps, batch, hidden)``.
        reverse: Whether the sequence was read from its end.
    """
    ones = np.ones(of_input.shape[1], x.dtype)
    before = _flat(in_order(states, reverse)[:-1])
    of_bias = np.matmul(of_input, ones) if wanted[4] or (wanted[5] and of_hidden is of_input) else None
    return [
        in_order(np.matmul(of_input.T, weight_ih).reshape(x.shape), reverse) if wanted[0] else None,
        of_first.T if wanted[1] else None,
        np.matmul(of_input, _flat(in_order(x, reverse)), out=rooms[2]) if wanted[2] else None,
        _hidden_weight_gradient(of_hidden, h, before, x.shape[1], rooms[3]) if wanted[3] else None,
        of_bias if wanted[4] else None,
        (of_bias if of_hidden is of_input else np.matmul(of_hidden, ones)) if wanted[5] else None,
    ]


def _hidden_weight_gradient(
    of_hidden: Array, h: Array | None, before: Array, batch: int, room: Array | None
) -> Array:
    result = np.matmul(of_hidden[:, batch:], before, out=room)
    if h is not None:
        result += np.matmul(of_hidden[:, :batch], h)
    return result


def _flat(x: Array) -> Array:
    """Steps and examples laid flat."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
