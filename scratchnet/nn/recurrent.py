"""Recurrent layers: sequences in, states out."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.functional.dropout import check_probability
from scratchnet.nn.module import Module, Parameter, check_sizes
from scratchnet.ops.gru import gru
from scratchnet.ops.lstm import lstm
from scratchnet.ops.rnn import Nonlinearity, rnn
from scratchnet.ops.shape import concatenate, reshape, transpose
from scratchnet.rng import RNGLike
from scratchnet.tape import Variable
from scratchnet.tensor import Tensor

Weights = tuple[Parameter, Parameter, Parameter | None, Parameter | None]


def add_weights(
    module: Module,
    gates: int,
    input_size: int,
    hidden_size: int,
    bias: bool,
    rng: np.random.Generator,
    suffix: str = "",
) -> None:
    """Gives a module the weights of one layer and direction, uniform in ±1/√hidden as in PyTorch."""
    rows, bound = gates * hidden_size, 1 / math.sqrt(hidden_size)
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, input_size),
        "weight_hh": (rows, hidden_size),
    }
    if bias:
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    for name, shape in shapes.items():
        parameter = Parameter(np.empty(shape, np.float32))
        setattr(module, name + suffix, init.uniform_(parameter, -bound, bound, rng=rng))


def weights_of(module: Module, suffix: str = "") -> Weights:
    """What `add_weights` gave."""
    return (
        getattr(module, f"weight_ih{suffix}"),
        getattr(module, f"weight_hh{suffix}"),
        getattr(module, f"bias_ih{suffix}", None),
        getattr(module, f"bias_hh{suffix}", None),
    )


def check_nonlinearity(module: Module, nonlinearity: str) -> None:
    """Whether there is such an activation."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{type(module).__name__} needs nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")


def check_state(module: Module, name: str, state: Any, shape: tuple[int, ...], x: Any) -> None:
    """Whether an initial state, if there is one, has the shape that the input asks for."""
    if state is not None and np.shape(state) != shape:
        raise ValueError(
            f"{type(module).__name__} needs {name} of shape {shape} for its input of shape {np.shape(x)}, "
            f"got {np.shape(state)}; leave it out to start from zero"
        )


def as_data(x: Any) -> Any:
    """A tensor as it is, anything else as an array, which takes the dtype of the weights."""
    return x if x is None or isinstance(x, Variable) else np.asarray(x)


def pair_of_states(module: Module, hx: Any) -> tuple[Any, Any]:
    """The two initial states (h, c) of a long short-term memory."""
    if hx is None:
        return None, None
    if not isinstance(hx, tuple | list) or len(hx) != 2:
        raise ValueError(
            f"{type(module).__name__} needs its initial states as a pair (h, c), got {type(hx).__name__}; "
            f"leave it out to start from zero"
        )
    return hx[0], hx[1]


class RecurrentLayer(Module):
    """What the three recurrent layers share: their weights, and the way through layers and directions."""

    GATES: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        rng: RNGLike,
    ) -> None:
        super().__init__()
        check_sizes(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = self._checked_dropout(dropout, num_layers)
        self.bidirectional = bidirectional
        self._generator = np.random.default_rng(rng)
        self._suffixes = [
            [f"_l{layer}{side}" for side in ("", "_reverse")[: 1 + bidirectional]]
            for layer in range(num_layers)
        ]
        for layer, suffixes in enumerate(self._suffixes):
            inputs = len(suffixes) * hidden_size if layer else input_size
            for suffix in suffixes:
                add_weights(self, self.GATES, inputs, hidden_size, bias, self._generator, suffix)

    def _checked_dropout(self, dropout: float, num_layers: int) -> float:
        name = type(self).__name__
        check_probability(name, dropout)
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name} drops between layers, and has one: dropout={dropout} does nothing; "
                f"put a Dropout behind it, or num_layers=2",
                stacklevel=4,
            )
        return dropout

    def _read(
        self, x: Any, states: Sequence[Any], weights: Weights, reverse: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Reads a sequence in one direction: the output, and each last state with an axis in front."""
        raise TypeError(f"{type(self).__name__} needs a _read method")

    def _run(self, x: Any, **initial: Any) -> tuple[Tensor, list[Tensor]]:
        """Output and last states of all layers, in the layout of the input."""
        x, states = as_data(x), [as_data(state) for state in initial.values()]
        self._check(x, dict(zip(initial, states, strict=True)))
        if x.ndim == 3 and not self.batch_first:
            return self._run_layers(x, states)
        if x.ndim == 3:
            output, last = self._run_layers(transpose(x, axes=(1, 0, 2)), states)
            return transpose(output, axes=(1, 0, 2)), last
        one = [state if state is None else _with_batch(state) for state in states]
        output, last = self._run_layers(_with_batch(x), one)
        return _without_batch(output), [_without_batch(state) for state in last]

    def _run_layers(self, x: Any, states: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
        last: list[Sequence[Tensor]] = []
        for suffixes in self._suffixes:
            if last:
                x = F.dropout(x, self.dropout, self.training, self._generator)
            outputs: list[Tensor] = []
            for suffix in suffixes:
                first = [state if state is None else state[len(last)] for state in states]
                output, finals = self._read(x, first, weights_of(self, suffix), len(outputs) == 1)
                outputs.append(output)
                last.append(finals)
            x = concatenate(outputs, 2)
        return x, [concatenate(kind, 0) for kind in zip(*last, strict=True)]

    def _check(self, x: Any, states: dict[str, Any]) -> None:
        name = type(self).__name__
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            batched = "(batch, steps," if self.batch_first else "(steps, batch,"
            raise ValueError(
                f"{name} needs an input of shape {batched} {self.input_size}) or (steps, {self.input_size}), "
                f"got {x.shape}"
            )
        if x.shape[int(self.batch_first and x.ndim == 3)] == 0:
            raise ValueError(f"{name} needs a sequence of at least one step, got an input of shape {x.shape}")
        batch = () if x.ndim == 2 else (x.shape[int(not self.batch_first)],)
        shape = (self.num_layers * (1 + self.bidirectional), *batch, self.hidden_size)
        for which, state in states.items():
            check_state(self, which, state, shape, x)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        named = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        given = [
            f"{name}={getattr(self, name)}" for name, usual in named.items() if getattr(self, name) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *given])


def _with_batch(x: Any) -> Any:
    return reshape(x, shape=(len(x), 1, x.shape[-1]), original=x.shape)


def _without_batch(x: Any) -> Any:
    return reshape(x, shape=(len(x), x.shape[-1]), original=x.shape)


def _last(states: Tensor, reverse: bool) -> Tensor:
    """The state after the whole sequence, with the axis of steps kept."""
    return states[:1] if reverse else states[-1:]


class RNN(RecurrentLayer):
    """Plain recurrent layers: hₜ = φ(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), with φ = tanh or ReLU.

    A second layer reads the states of the first. A bidirectional layer reads the sequence from both ends
    with weights of their own, and its states stand beside each other. The gradient goes back through
    time, āₜ = h̄ₜ φ′(aₜ) and h̄ₜ₋₁ += W_hhᵀ āₜ, and shrinks or grows with each step as W_hh has it: over long
    sequences it vanishes or explodes, which `LSTM` and `GRU` were made against [1].

    All sequences of a batch have one length: packed sequences are not supported, so pad the shorter ones
    and leave the padding out of the loss.

    Args:
        input_size: Features of xₜ.
        hidden_size: Features of hₜ.
        num_layers: How many layers stand upon each other.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: False leaves both biases out.
        batch_first: True for arrays ``(batch, steps, features)``; the states keep their layout.
        dropout: Probability with which each output of each layer but the last is zero in training.
        bidirectional: True for a second direction.
        rng: Where first values and dropout come from: a generator, a seed, or None for fresh entropy.

    Shape:
        Input ``(steps, batch, input_size)``, or ``(steps, input_size)`` for one example. Output
        ``(steps, batch, directions × hidden_size)``. Initial and last state
        ``(num_layers × directions, batch, hidden_size)``, without ``batch`` for one example.

    Raises:
        ValueError: If sizes or shapes do not fit, or there are no steps.

    Example:
        >>> output, last = RNN(3, 4, rng=0)(np.zeros((5, 2, 3)))
        >>> output.shape, last.shape
        ((5, 2, 4), (1, 2, 4))

    References:
        [1] Bengio et al., "Learning long-term dependencies with gradient descent is difficult", 1994.
    """

    GATES = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng)
        check_nonlinearity(self, nonlinearity)
        self.nonlinearity = nonlinearity

    def _read(
        self, x: Any, states: Sequence[Any], weights: Weights, reverse: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        output = rnn(x, *states, *weights, nonlinearity=self.nonlinearity, reverse=reverse)
        return output, [_last(output, reverse)]

    def forward(self, x: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        output, (last,) = self._run(x, hx=hx)
        return output, last


class LSTM(RecurrentLayer):
    """Long short-term memory: a cell c that is added to, not overwritten, and so carries gradients far.

    With the gates i, f, o = σ(W_i· xₜ + b_i· + W_h· hₜ₋₁ + b_h·) and g = tanh of such a sum, whose weights are
    the rows i, f, g, o of W_ih and W_hh, cₜ = f cₜ₋₁ + i g and hₜ = o tanh cₜ. Back through time,
    c̄ₜ += h̄ₜ o (1 − tanh² cₜ) and c̄ₜ₋₁ = f c̄ₜ: where f is near one, nothing is lost.

    All sequences of a batch have one length: packed sequences are not supported, so pad the shorter ones
    and leave the padding out of the loss.

    Args:
        input_size: Features of xₜ.
        hidden_size: Features of hₜ and cₜ.
        num_layers: How many layers stand upon each other.
        bias: False leaves both biases out.
        batch_first: True for arrays ``(batch, steps, features)``; the states keep their layout.
        dropout: Probability with which each output of each layer but the last is zero in training.
        bidirectional: True for a second direction; see `RNN`.
        proj_size: Must be 0: projected states are not supported.
        rng: Where first values and dropout come from: a generator, a seed, or None for fresh entropy.

    Shape:
        As in `RNN`; the states are pairs, ``(h, c)``.

    Raises:
        ValueError: If sizes or shapes do not fit, there are no steps, or ``proj_size`` is not 0.

    Example:
        >>> output, (h, c) = LSTM(3, 4, num_layers=2, rng=0)(np.zeros((5, 2, 3)))
        >>> output.shape, h.shape, c.shape
        ((5, 2, 4), (2, 2, 4), (2, 2, 4))

    References:
        Hochreiter and Schmidhuber, "Long short-term memory", 1997; the gate f: Gers et al., "Learning to
        forget", 2000.
    """

    GATES = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        rng: RNGLike = None,
    ) -> None:
        if proj_size:
            raise ValueError(
                f"LSTM needs proj_size=0, got {proj_size}; put a Linear behind it to make the output smaller"
            )
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng)

    def _read(
        self, x: Any, states: Sequence[Any], weights: Weights, reverse: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        h, c = states
        packed = lstm(x, h, *weights, c, reverse=reverse)
        output = packed[:-1]
        return output, [_last(output, reverse), packed[-1:]]

    def forward(self, x: Any, hx: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See the class."""
        h, c = pair_of_states(self, hx)
        output, (last_h, last_c) = self._run(x, h=h, c=c)
        return output, (last_h, last_c)


class GRU(RecurrentLayer):
    """Gated recurrent unit: a state that each step moves a part of the way to a candidate.

    With the gates r, z = σ(W_i· xₜ + b_i· + W_h· hₜ₋₁ + b_h·) and the candidate
    n = tanh(W_in xₜ + b_in + r (W_hn hₜ₋₁ + b_hn)), hₜ = (1 − z) n + z hₜ₋₁; the rows of W_ih and W_hh are r, z, n.
    The gradient passes straight through z: h̄ₜ₋₁ = z h̄ₜ and what comes back through the gates. As in PyTorch,
    r multiplies the product W_hn hₜ₋₁ + b_hn; in the paper it multiplies hₜ₋₁ itself, and z and 1 − z are
    exchanged.

    All sequences of a batch have one length: packed sequences are not supported, so pad the shorter ones
    and leave the padding out of the loss.

    Args:
        input_size: Features of xₜ.
        hidden_size: Features of hₜ.
        num_layers: How many layers stand upon each other.
        bias: False leaves both biases out.
        batch_first: True for arrays ``(batch, steps, features)``; the states keep their layout.
        dropout: Probability with which each output of each layer but the last is zero in training.
        bidirectional: True for a second direction; see `RNN`.
        rng: Where first values and dropout come from: a generator, a seed, or None for fresh entropy.

    Shape:
        As in `RNN`.

    Raises:
        ValueError: If sizes or shapes do not fit, or there are no steps.

    Example:
        >>> output, last = GRU(3, 4, bidirectional=True, rng=0)(np.zeros((5, 2, 3)))
        >>> output.shape, last.shape
        ((5, 2, 8), (2, 2, 4))

    References:
        Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
        translation", 2014, arXiv:1406.1078.
    """

    GATES = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng)

    def _read(
        self, x: Any, states: Sequence[Any], weights: Weights, reverse: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        output = gru(x, *states, *weights, reverse=reverse)
        return output, [_last(output, reverse)]

    def forward(self, x: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        output, (last,) = self._run(x, hx=hx)
        return output, last
