"""Recurrent cells: one step of the layer of the same name, for loops of one's own."""

from typing import Any

import numpy as np

from scratchnet.nn.module import Module, check_sizes
from scratchnet.nn.recurrent import (
    Weights,
    add_weights,
    as_data,
    check_nonlinearity,
    check_state,
    pair_of_states,
    weights_of,
)
from scratchnet.ops.gru import gru
from scratchnet.ops.lstm import lstm
from scratchnet.ops.rnn import Nonlinearity, rnn
from scratchnet.ops.shape import reshape
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class RecurrentCell(Module):
    """What the three cells share: their weights, and a step as a sequence of one."""

    GATES: int

    def __init__(self, input_size: int, hidden_size: int, bias: bool, rng: RNGLike) -> None:
        super().__init__()
        check_sizes(self, input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        add_weights(self, self.GATES, input_size, hidden_size, bias, np.random.default_rng(rng))

    def _read(self, x: Any, *states: Any) -> Tensor:
        """Reads a sequence of one step: each state after it, one upon another."""
        raise TypeError(f"{type(self).__name__} needs a _read method")

    def _step(self, x: Any, **states: Any) -> list[Tensor]:
        """Every state after the step, in the shape of the input's batch."""
        x = as_data(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} needs an input of shape (batch, {self.input_size}) or "
                f"({self.input_size},), got {x.shape}"
            )
        shape = (*x.shape[:-1], self.hidden_size)
        for name, state in states.items():
            check_state(self, name, state, shape, x)
        one = self._read(
            _flat(x, 3), *(state if state is None else _flat(as_data(state), 2) for state in states.values())
        )
        return [reshape(one[number], shape=shape, original=one.shape[1:]) for number in range(len(states))]

    @property
    def _weights(self) -> Weights:
        return weights_of(self)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


def _flat(x: Any, axes: int) -> Any:
    """The batch before the features, under one more axis where there are three."""
    shape = (1,) * (axes - 2) + (-1 if x.ndim > 1 else 1, x.shape[-1])
    return reshape(x, shape=shape, original=x.shape)


class RNNCell(RecurrentCell):
    """One step of `RNN`: h′ = φ(W_ih x + b_ih + W_hh h + b_hh), with φ = tanh or ReLU.

    The gradients: ā = h̄′ φ′(a) for the sum a, x̄ = W_ihᵀ ā and h̄ = W_hhᵀ ā. A loop over steps takes several times
    as long as `RNN`, which reads the whole sequence at once.

    Args:
        input_size: Features of x.
        hidden_size: Features of h.
        bias: False leaves both biases out.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        rng: Where first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        x ``(batch, input_size)`` and h ``(batch, hidden_size)``, zero if left out, to ``(batch, hidden_size)``;
        all without ``batch`` for one example.

    Raises:
        ValueError: If sizes or shapes do not fit.

    Example:
        >>> cell, h = RNNCell(3, 4, rng=0), None
        >>> for x in np.zeros((5, 2, 3)):
        ...     h = cell(x, h)
        >>> h.shape
        (2, 4)
    """

    GATES = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, rng)
        check_nonlinearity(self, nonlinearity)
        self.nonlinearity = nonlinearity

    def _read(self, x: Any, *states: Any) -> Tensor:
        return rnn(x, *states, *self._weights, nonlinearity=self.nonlinearity, reverse=False)

    def forward(self, x: Any, hx: Any = None) -> Tensor:
        """See the class."""
        (h,) = self._step(x, hx=hx)
        return h


class LSTMCell(RecurrentCell):
    """One step of `LSTM`: c′ = f c + i g and h′ = o tanh c′, with the gates and gradients told there.

    Args:
        input_size: Features of x.
        hidden_size: Features of h and c.
        bias: False leaves both biases out.
        rng: Where first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        x ``(batch, input_size)`` and the pair (h, c), each ``(batch, hidden_size)``, zero if left out, to the
        pair (h′, c′); all without ``batch`` for one example.

    Raises:
        ValueError: If sizes or shapes do not fit.

    Example:
        >>> h, c = LSTMCell(3, 4, rng=0)(np.zeros((2, 3)))
        >>> h.shape, c.shape
        ((2, 4), (2, 4))
    """

    GATES = 4

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, rng: RNGLike = None) -> None:
        super().__init__(input_size, hidden_size, bias, rng)

    def _read(self, x: Any, *states: Any) -> Tensor:
        h, c = states
        return lstm(x, h, *self._weights, c, reverse=False)

    def forward(self, x: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        h, c = pair_of_states(self, hx)
        h, c = self._step(x, h=h, c=c)
        return h, c


class GRUCell(RecurrentCell):
    """One step of `GRU`: h′ = (1 − z) n + z h, with the gates and gradients told there.

    Args:
        input_size: Features of x.
        hidden_size: Features of h.
        bias: False leaves both biases out.
        rng: Where first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        As in `RNNCell`.

    Raises:
        ValueError: If sizes or shapes do not fit.

    Example:
        >>> GRUCell(3, 4, rng=0)(np.zeros((2, 3))).shape
        (2, 4)
    """

    GATES = 3

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, rng: RNGLike = None) -> None:
        super().__init__(input_size, hidden_size, bias, rng)

    def _read(self, x: Any, *states: Any) -> Tensor:
        return gru(x, *states, *self._weights, reverse=False)

    def forward(self, x: Any, hx: Any = None) -> Tensor:
        """See the class."""
        (h,) = self._step(x, hx=hx)
        return h
