"""The plain recurrent layer as a primitive."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops import elementwise, recurrent
from scratchnet.ops.linalg import linear
from scratchnet.ops.recurrent import in_order
from scratchnet.tape import Array

Nonlinearity = Literal["tanh", "relu"]


def _formula(
    x: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any,
    bias_hh: Any,
    nonlinearity: Nonlinearity,
    reverse: bool,
) -> Any:
    activate = elementwise.tanh if nonlinearity == "tanh" else elementwise.relu

    def step(x: Any, h: Any) -> Any:
        return activate(linear(x, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh))

    return recurrent.unrolled(x, h, weight_hh, step, reverse)


def _tanh_slope(h: Array, out: Array) -> None:
    np.multiply(h, h, out=out)
    np.subtract(1, out, out=out)


# Each activation, and its derivative from its own value.
_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": np.tanh,
    "relu": lambda x, out: np.maximum(x, 0, out=out),
}
_SLOPES: dict[str, Callable[..., Any]] = {
    "tanh": _tanh_slope,
    "relu": lambda h, out: np.greater(h, 0, out=out),
}


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
    nonlinearity: Nonlinearity,
    reverse: bool,
    rooms: Sequence[Array | None],
) -> list[Array | None]:
    states, output = saved
    steps, hidden, batch = states.shape
    sums = np.empty((steps, batch, hidden), g.dtype)
    of_state = np.zeros((hidden, batch), g.dtype)
    of_sum = np.empty_like(of_state)
    slope = _SLOPES[nonlinearity]
    arriving = in_order(g, reverse)
    for step in range(steps - 1, -1, -1):
        of_state += arriving[step].T
        slope(states[step], out=of_sum)
        of_sum *= of_state
        sums[step] = of_sum.T
        np.dot(weight_hh.T, of_sum, out=of_state)
    return recurrent.input_gradients(sums, sums, of_state, wanted, rooms, x, h, weight_ih, output, reverse)


@fused(backward=_backward, formula=_formula)
def rnn(
    x: Array,
    h: Array | None,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    *,
    nonlinearity: Nonlinearity,
    reverse: bool,
) -> tuple[Array, tuple[Array, Array]]:
    """hₜ = φ(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh) for φ = tanh or ReLU, at every step.

    With h̄ₜ the gradient of hₜ from the output and from the step after it, the sum aₜ inside φ has the
    gradient āₜ = h̄ₜ φ′(aₜ), and x̄ₜ = W_ihᵀ āₜ, h̄ₜ₋₁ += W_hhᵀ āₜ, W̄_ih = Σ āₜ xₜᵀ, W̄_hh = Σ āₜ hₜ₋₁ᵀ,
    b̄ = Σ āₜ.

    x has the shape (steps, batch, inputs), h, the initial state, (batch, hidden) or is None for zeros, the
    output, every state, (steps, batch, hidden). With ``reverse`` the sequence is read from its end.
    """
    hidden = weight_hh.shape[1]
    columns = recurrent.columns(in_order(x, reverse), h, hidden)
    weight = recurrent.joined(weight_ih, weight_hh, bias_ih, bias_hh)
    states = columns[1:, -1 - hidden : -1]
    activate = _ACTIVATIONS[nonlinearity]
    for column, state in zip(columns[:-1], states, strict=True):
        np.dot(weight, column, out=state)
        activate(state, out=state)
    output = recurrent.rows(states, reverse)
    return output, (states, output)
