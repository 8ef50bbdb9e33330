"""What the three recurrent primitives share: how a sequence is laid out, and the sums over time at the end.

Inside the loops over time an array has the shape (features, batch): each gate is then one contiguous
block, and the product of a wide weight with a thin state is the shape that BLAS multiplies fastest.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchnet.ops.shape import concatenate, part, reshape
from scratchnet.tape import Array


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
    return [part(x, 1, start, start + size) for start in range(0, count * size, size)]


def unrolled(x: Any, h: Any, weight_hh: Any, step: Callable[[Any, Any], Any], reverse: bool) -> Any:
    """The states that ``step(input, state)`` runs through, one upon another: the textbook's recurrence."""
    state = np.zeros((x.shape[1], weight_hh.shape[1])) if h is None else h
    states = []
    for moment in in_order(range(len(x)), reverse):
        state = step(x[moment], state)
        states.append(reshape(state, shape=(1, *state.shape), original=state.shape))
    return concatenate(in_order(states, reverse), 0)


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
        of_input: Gradient of W_ih x + b_ih, shape ``(steps, batch, rows)``, steps in the order of reading.
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
    rows = _flat(of_input)
    before = in_order(states, reverse)[:-1]
    of_bias_ih, of_bias_hh = _bias_gradients(of_input, of_hidden, wanted[4:6])
    return [
        in_order(np.dot(rows, weight_ih).reshape(x.shape), reverse) if wanted[0] else None,
        of_first.T if wanted[1] else None,
        np.dot(rows.T, _flat(in_order(x, reverse)), out=rooms[2]) if wanted[2] else None,
        _hidden_weight_gradient(of_hidden, h, before, rooms[3]) if wanted[3] else None,
        of_bias_ih,
        of_bias_hh,
    ]


def _bias_gradients(
    of_input: Array, of_hidden: Array, wanted: Sequence[bool]
) -> tuple[Array | None, Array | None]:
    of_bias_ih = _total(of_input) if wanted[0] else None
    if not wanted[1]:
        return of_bias_ih, None
    is_known = of_hidden is of_input and of_bias_ih is not None
    return of_bias_ih, of_bias_ih if is_known else _total(of_hidden)


def _total(rows: Array) -> Array:
    """The sum over steps and examples, as a product with ones: BLAS is quicker at it than `np.sum`."""
    flat = _flat(rows)
    return np.dot(np.ones(len(flat), rows.dtype), flat)


def _hidden_weight_gradient(of_hidden: Array, h: Array | None, before: Array, room: Array | None) -> Array:
    result = np.dot(_flat(of_hidden[1:]).T, _flat(before), out=room)
    if h is not None:
        result += np.dot(of_hidden[0].T, h)
    return result


def _flat(x: Array) -> Array:
    """Steps and examples laid flat."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
