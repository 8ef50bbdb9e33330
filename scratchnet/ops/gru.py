"""The gated recurrent unit as a primitive."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops import recurrent
from scratchnet.ops.elementwise import sigmoid, tanh
from scratchnet.ops.linalg import linear
from scratchnet.ops.recurrent import in_order
from scratchnet.tape import Array


def _formula(
    x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, reverse: bool
) -> Any:
    def step(x: Any, h: Any) -> Any:
        of_input = recurrent.blocks(linear(x, weight_ih, bias_ih), 3)
        of_hidden = recurrent.blocks(linear(h, weight_hh, bias_hh), 3)
        r, z = (sigmoid(of_input[gate] + of_hidden[gate]) for gate in (0, 1))
        n = tanh(of_input[2] + r * of_hidden[2])
        return (1 - z) * n + z * h

    return recurrent.unrolled(x, h, weight_hh, step, reverse)


def _backward(
    g: Array,
    saved: tuple[Array, Array, Array],
    wanted: Sequence[bool],
    x: Array,
    h: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    _bias_ih: Array | None,
    _bias_hh: Array | None,
    reverse: bool,
    rooms: Sequence[Array | None],
) -> list[Array | None]:
    gates, states, output = saved
    steps, _, hidden, batch = gates.shape
    of_input, of_hidden = np.empty((2, steps, batch, 3 * hidden), g.dtype)
    of_state = np.zeros((hidden, batch), g.dtype)
    # Laid out as in the forward pass: r, z, and the two parts of n.
    of_gates = np.empty((4, hidden, batch), g.dtype)
    sums = of_gates.reshape(4 * hidden, batch)
    weight = np.ascontiguousarray(weight_hh.T)
    scratch = np.empty((2, hidden, batch), g.dtype)
    arriving = in_order(g, reverse)
    for step in range(steps - 1, -1, -1):
        of_state += arriving[step].T
        _step_back(of_state, gates[step], states[step], of_gates, scratch)
        of_hidden[step] = sums[: 3 * hidden].T
        of_input[step, :, : 2 * hidden] = of_hidden[step, :, : 2 * hidden]
        of_input[step, :, 2 * hidden :] = sums[3 * hidden :].T
        of_state += np.dot(weight, sums[: 3 * hidden], out=scratch[0])
    return recurrent.input_gradients(
        of_input, of_hidden, of_state, wanted, rooms, x, h, weight_ih, output, reverse
    )


def _step_back(of_state: Array, gates: Array, h: Array, of_gates: Array, scratch: Array) -> None:
    """From h̄ after a step to the gradients inside the gates; h̄ becomes the part that goes past them."""
    r, z, of_n_by_r, n = gates
    of_n = of_gates[3]
    np.subtract(1, z, out=of_n)
    of_n *= of_state
    np.multiply(n, n, out=scratch[0])
    np.subtract(1, scratch[0], out=scratch[0])
    of_n *= scratch[0]
    np.multiply(of_n, r, out=of_gates[2])
    np.multiply(of_n, of_n_by_r, out=of_gates[0])
    np.subtract(h, n, out=of_gates[1])
    of_gates[1] *= of_state
    np.multiply(gates[:2], gates[:2], out=scratch)
    np.subtract(gates[:2], scratch, out=scratch)
    of_gates[:2] *= scratch
    of_state *= z


@fused(backward=_backward, formula=_formula)
def gru(
    x: Array,
    h: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    *,
    reverse: bool,
) -> tuple[Array, tuple[Array, Array, Array]]:
    """Gates r, z = σ(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), and n = tanh(W_in xₜ + b_in + r (W_hn hₜ₋₁ + b_hn)).

    Then hₜ = (1 − z) n + z hₜ₋₁; the rows of the weights are r, z, n. With h̄ₜ from the output and from the step
    after it, n̄ = h̄ₜ (1 − z), z̄ = h̄ₜ (hₜ₋₁ − n), h̄ₜ₋₁ = h̄ₜ z + W_hhᵀ ā; with āₙ = n̄ (1 − n²) and the sum
    s = W_hn hₜ₋₁ + b_hn, r̄ = āₙ s and s̄ = āₙ r; from these all else follows as in `scratchnet.ops.rnn.rnn`.

    x has the shape (steps, batch, inputs), h, the initial state, (batch, hidden) or is None for zeros, the
    output, every state, (steps, batch, hidden). With ``reverse`` the sequence is read from its end.
    """
    hidden = weight_hh.shape[1]
    steps, batch, _ = x.shape
    columns = recurrent.columns(in_order(x, reverse), h, hidden)
    weight = _joined(weight_ih, weight_hh, bias_ih, bias_hh)
    # Of each step: r, z, the part of n that r multiplies, and the other part, which becomes n.
    gates = np.empty((steps, 4, hidden, batch), x.dtype)
    states = columns[:, -1 - hidden : -1]
    scratch = np.empty((hidden, batch), x.dtype)
    for step in range(steps):
        np.dot(weight, columns[step], out=gates[step].reshape(4 * hidden, batch))
        _step(gates[step], states[step], states[step + 1], scratch)
    output = recurrent.rows(states[1:], reverse)
    return output, (gates, states, output)


def _joined(weight_ih: Array, weight_hh: Array, bias_ih: Array | None, bias_hh: Array | None) -> Array:
    """As `recurrent.joined`, with the two parts of n one under the other, for r multiplies only one."""
    rows, hidden = weight_hh.shape
    weight = np.zeros((rows + hidden, weight_ih.shape[1] + hidden + 1), weight_ih.dtype)
    both = recurrent.joined(weight_ih, weight_hh, bias_ih, bias_hh)
    weight[: 2 * hidden] = both[: 2 * hidden]
    weight[: 2 * hidden] *= 0.5
    weight[2 * hidden : rows, -1 - hidden : -1] = weight_hh[2 * hidden :]
    weight[rows:, : -1 - hidden] = weight_ih[2 * hidden :]
    if bias_ih is not None and bias_hh is not None:
        weight[2 * hidden : rows, -1] = bias_hh[2 * hidden :]
        weight[rows:, -1] = bias_ih[2 * hidden :]
    return weight


def _step(gates: Array, h: Array, following: Array, scratch: Array) -> None:
    """From the sums inside the gates to the state after the step."""
    recurrent.sigmoid_of_twice(gates[:2])
    r, z, of_n_by_r, n = gates
    n += np.multiply(r, of_n_by_r, out=scratch)
    np.tanh(n, out=n)
    np.subtract(h, n, out=following)
    following *= z
    following += n
