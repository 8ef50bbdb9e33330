"""Long short-term memory as a primitive."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops import recurrent
from scratchnet.ops.elementwise import sigmoid, tanh
from scratchnet.ops.linalg import linear
from scratchnet.ops.recurrent import in_order
from scratchnet.ops.shape import concatenate, reshape
from scratchnet.tape import Array


def _formula(
    x: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    c: Any,
    reverse: bool,
) -> Any:
    batch, hidden = x.shape[1], weight_hh.shape[1]
    cell = np.zeros((batch, hidden)) if c is None else c

    def step(x: Any, h: Any) -> Any:
        nonlocal cell
        sums = linear(x, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh)
        i, f, g, o = recurrent.blocks(sums, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(cell)

    output = recurrent.unrolled(x, h, weight_hh, step, reverse)
    last = reshape(cell, shape=(1, batch, hidden), original=(batch, hidden))
    return concatenate([output, last], 0)


def _backward(
    g: Array,
    saved: tuple[Array, Array],
    wanted: Sequence[bool],
    x: Array,
    h: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    _bias_ih: Array | None,
    _bias_hh: Array | None,
    _c: Array | None,
    reverse: bool,
    rooms: Sequence[Array | None],
) -> list[Array | None]:
    gates, states = saved
    steps, _, hidden, batch = gates[1:].shape
    sums = np.empty((steps, batch, 4 * hidden), g.dtype)
    of_state = np.zeros((hidden, batch), g.dtype)
    # Laid out as in the forward pass: o, i, f, g, and the cell's state before the step.
    of_gates = np.empty((5, hidden, batch), g.dtype)
    of_gates[4] = g[-1].T
    products = of_gates[:4].reshape(4 * hidden, batch)
    weight = np.ascontiguousarray(np.roll(weight_hh, hidden, axis=0).T)
    scratch = np.empty((4, hidden, batch), g.dtype)
    arriving = in_order(g[:-1], reverse)
    for step in range(steps - 1, -1, -1):
        of_state += arriving[step].T
        _step_back(of_state, gates[step], gates[step + 1, 4], of_gates, scratch)
        sums[step, :, : 3 * hidden] = products[hidden:].T
        sums[step, :, 3 * hidden :] = products[:hidden].T
        np.dot(weight, products, out=of_state)
    common = recurrent.input_gradients(
        sums, sums, of_state, wanted, rooms, x, h, weight_ih, states[:-1], reverse
    )
    return [*common, of_gates[4].T if wanted[6] else None]


def _step_back(of_state: Array, gates: Array, c: Array, of_gates: Array, scratch: Array) -> None:
    """From h̄ and c̄ after a step to the gradients inside the gates and c̄ before it; h̄ is used up."""
    of_cell, slope = scratch[0], scratch[1]
    # Computed anew, for that is no slower than to fetch it from memory.
    tanh_c = np.tanh(c, out=slope)
    np.multiply(of_state, tanh_c, out=of_gates[0])
    slope *= tanh_c
    np.subtract(1, slope, out=slope)
    of_state *= gates[0]
    of_state *= slope
    np.add(of_state, of_gates[4], out=of_cell)
    # c = i g + f c₋: the pairs (i, f) and (g, c₋) get each other's values, two arrays at once.
    np.multiply(gates[3:], of_cell, out=of_gates[1:3])
    np.multiply(gates[1:3], of_cell, out=of_gates[3:])
    np.multiply(gates[:4], gates[:4], out=scratch)
    np.subtract(gates[:3], scratch[:3], out=scratch[:3])
    np.subtract(1, scratch[3], out=scratch[3])
    of_gates[:4] *= scratch


@fused(backward=_backward, formula=_formula)
def lstm(
    x: Array,
    h: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    c: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, tuple[Array, Array]]:
    """Gates i, f, o = σ(·) and g = tanh(·) of W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh, whose rows are i, f, g, o.

    Then cₜ = f cₜ₋₁ + i g and hₜ = o tanh cₜ. With h̄ₜ and c̄ₜ from the output and from the step after,
    c̄ₜ += h̄ₜ o (1 − tanh² cₜ), ō = h̄ₜ tanh cₜ, ī = c̄ₜ g, ḡ = c̄ₜ i, f̄ = c̄ₜ cₜ₋₁, c̄ₜ₋₁ = c̄ₜ f; the sums inside get
    āᵢ = ī i (1 − i) and so on, and from them all else follows as in `scratchnet.ops.rnn.rnn`.

    x has the shape (steps, batch, inputs), the initial states h and c (batch, hidden), or are None for zeros.
    The output (steps + 1, batch, hidden) holds every h and, behind them, the last c. With ``reverse`` the
    sequence is read from its end.
    """
    steps, batch, _ = x.shape
    hidden = weight_hh.shape[1]
    columns = recurrent.columns(in_order(x, reverse), h, hidden)
    weight = _half_of_sigmoids(recurrent.joined(weight_ih, weight_hh, bias_ih, bias_hh))
    # Of each step: o, i, f, g, and c before the step, so that i g and f c are one product of two blocks.
    gates = np.empty((steps + 1, 5, hidden, batch), x.dtype)
    gates[0, 4] = 0 if c is None else c.T
    states = columns[1:, -1 - hidden : -1]
    scratch = np.empty((2, hidden, batch), x.dtype)
    for step in range(steps):
        sums = gates[step, :4]
        np.dot(weight, columns[step], out=sums.reshape(4 * hidden, batch))
        _step(gates[step], gates[step + 1, 4], states[step], scratch)
    output = np.empty((steps + 1, batch, hidden), x.dtype)
    output[:-1] = in_order(states, reverse).transpose(0, 2, 1)
    output[-1] = gates[-1, 4].T
    return output, (gates, output)


def _half_of_sigmoids(weight: Array) -> Array:
    """Rows i, f, g, o as o, i, f, g, for one call to squash i, f, o; halved, see `sigmoid_of_twice`."""
    hidden = len(weight) // 4
    turned = np.roll(weight, hidden, axis=0)
    turned[: 3 * hidden] *= 0.5
    return turned


def _step(gates: Array, c: Array, h: Array, scratch: Array) -> None:
    """From the sums inside the gates to the states after the step."""
    np.tanh(gates[:4], out=gates[:4])
    gates[:3] *= 0.5
    gates[:3] += 0.5
    np.multiply(gates[1:3], gates[3:], out=scratch)
    np.add(scratch[0], scratch[1], out=c)
    np.tanh(c, out=h)
    h *= gates[0]
