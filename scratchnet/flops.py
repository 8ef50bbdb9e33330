"""How many floating-point operations a forward pass takes, kind by kind of layer.

The conventions, which are those of PyTorch's counter where it counts at all:

* A multiplication followed by an addition is two operations; biases are not counted.
* An activation takes one operation an element, whichever function it is: what an exponential costs beside
  an addition is the machine's affair.
* What recurrent and attention layers do besides their matrix products is not counted.
* A rule counts what a module does itself; the modules that it calls count their own.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse

from scratchnet import nn

Rule = Callable[[Any, tuple[Any, ...], Any], int | None]

RULES: dict[type[nn.Module], Rule] = {}


def flops_of(*kinds: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Decorator that makes a function the rule for kinds of modules.

    The rule is called as ``rule(module, inputs, output)`` with the positional inputs and the output of one
    forward pass, and returns the number of operations that the module does itself, or None if it cannot say.

    Example:
        >>> class Doubled(nn.Module):
        ...     def forward(self, x):
        ...         return x + x
        >>> @flops_of(Doubled)
        ... def doubled(module, inputs, output):
        ...     return output.size
    """
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise TypeError(f"flops_of needs kinds of modules, got {kind!r}")

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def flops(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> int | None:
    """Operations of one forward pass of one module, or None where its kind has no rule."""
    rule = _rule(type(module))
    # What came by keyword is not seen here.
    return None if rule is None or not inputs else rule(module, inputs, output)


def _rule(kind: type) -> Rule | None:
    for ancestor in kind.__mro__:
        if ancestor in RULES:
            return RULES[ancestor]
        # Whoever has a forward pass of their own does not do what their ancestors do.
        if "forward" in vars(ancestor):
            return None
    return None


def _places(x: Any, axes: int = 1) -> int:
    """How often something that works on the last ``axes`` axes is applied."""
    return math.prod(np.shape(x)[: np.ndim(x) - axes])


def _elements(x: Any) -> int:
    return math.prod(np.shape(x))


# ---------------------------------------------------------------------------------------- the rules


@flops_of(
    nn.Sequential,
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Embedding,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AlphaDropout,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.Transformer,
)
def nothing(_module: nn.Module, _inputs: tuple[Any, ...], _output: Any) -> int:
    """Passes on, looks up, or does something in training only."""
    return 0


@flops_of(
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.LogSoftmax,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.Residual,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.SinusoidalEncoding,
    nn.Softmax,
    nn.Softmin,
    nn.Softplus,
    nn.Softsign,
    nn.Tanh,
)
def elementwise(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> int:
    """One an element: a function of it, or a sum."""
    return _elements(output)


@flops_of(nn.GLU)
def gated(_module: nn.GLU, _inputs: tuple[Any, ...], output: Any) -> int:
    """A gate and a product."""
    return 2 * _elements(output)


@flops_of(nn.SwiGLU)
def gated_block(module: nn.SwiGLU, inputs: tuple[Any, ...], _output: Any) -> int:
    """A gate and a product between its three linear maps."""
    return 2 * _places(inputs[0]) * module.gate_proj.out_features


@flops_of(nn.RotaryEmbedding)
def rotation(_module: nn.RotaryEmbedding, _inputs: tuple[Any, ...], output: Any) -> int:
    """Four products and two sums a pair."""
    return 3 * _elements(output)


@flops_of(nn.Linear)
def linear(module: nn.Linear, inputs: tuple[Any, ...], _output: Any) -> int:
    """The weight meets each vector of the input."""
    return 2 * _places(inputs[0]) * module.in_features * module.out_features


@flops_of(nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)
def recurrence(module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> int:
    """Each of the module's matrices meets each example, at each step."""
    parameters = [parameter for _, parameter in module.named_parameters(recurse=False)]
    return 2 * _places(inputs[0]) * sum(parameter.size for parameter in parameters if parameter.ndim == 2)


@flops_of(nn.Bilinear)
def bilinear(module: nn.Bilinear, inputs: tuple[Any, ...], _output: Any) -> int:
    """The first input meets every matrix, and what comes out meets the second."""
    products = (module.in1_features + 1) * module.in2_features * module.out_features
    return 2 * _places(inputs[0]) * products


@flops_of(nn.GCNConv)
def graph_convolution(module: nn.GCNConv, inputs: tuple[Any, ...], output: Any) -> int | None:
    """A linear map of each node, then a sum over its neighbours and itself, zeros of the adjacency left out."""
    if len(inputs) < 2:
        return None
    adjacency, nodes = inputs[1], np.shape(output)[-2]
    edges = adjacency.nnz if issparse(adjacency) else int(np.count_nonzero(np.asarray(adjacency)))
    return 2 * _places(output) * module.weight.size + 2 * (edges + nodes) * (_elements(output) // nodes)


@flops_of(nn.Conv1d, nn.Conv2d)
def convolution(module: Any, _inputs: tuple[Any, ...], output: Any) -> int:
    """The whole weight, at each place of the output."""
    return 2 * module.weight.size * (_elements(output) // module.weight.shape[0])


@flops_of(nn.ConvTranspose1d, nn.ConvTranspose2d)
def transposed_convolution(module: Any, inputs: tuple[Any, ...], _output: Any) -> int:
    """The whole weight, at each place of the input."""
    return 2 * module.weight.size * (_elements(inputs[0]) // module.weight.shape[0])


@flops_of(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
def pooling(module: Any, _inputs: tuple[Any, ...], output: Any) -> int:
    """A comparison or a sum for each element of each window, wherever it lies."""
    axes = 1 if isinstance(module, nn.MaxPool1d | nn.AvgPool1d) else 2
    return _elements(output) * math.prod(np.broadcast_to(module.kernel_size, axes).tolist())


@flops_of(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
def adaptive_pooling(module: Any, inputs: tuple[Any, ...], output: Any) -> int:
    """A comparison or a sum for each element of each window, windows being of several sizes."""
    axes = 1 if isinstance(module, nn.AdaptiveAvgPool1d | nn.AdaptiveMaxPool1d) else 2
    sizes = zip(np.shape(inputs[0])[-axes:], np.shape(output)[-axes:], strict=True)
    return _places(output, axes) * math.prod(_window_sizes(n, m) for n, m in sizes)


def _window_sizes(n: int, m: int) -> int:
    """Sum of the sizes of m windows over n elements; they overlap where m does not divide n."""
    return sum(-(-(i + 1) * n // m) - i * n // m for i in range(m))


@flops_of(nn.Upsample)
def resizing(module: nn.Upsample, inputs: tuple[Any, ...], output: Any) -> int:
    """A mean of two elements for sequences, of four for images, with weights; nothing for a copy."""
    if module.mode.startswith("nearest"):
        return 0
    neighbours = 2 ** (np.ndim(inputs[0]) - 2)
    return (2 * neighbours - 1) * _elements(output)


@flops_of(nn.MultiheadAttention)
def attention(module: nn.MultiheadAttention, inputs: tuple[Any, ...], _output: Any) -> int | None:
    """The three first projections, Q Kᵀ, and the weights times V; the last projection is a `Linear`."""
    if len(inputs) < 3:
        return None
    size = module.embed_dim
    queries, keys, values = (_places(x) for x in inputs[:3])
    projections = size * (queries * size + keys * module.kdim + values * module.vdim)
    batch = 1 if np.ndim(inputs[0]) == 2 else np.shape(inputs[0])[not module.batch_first]
    return 2 * (projections + 2 * queries * (keys // batch) * size)


@flops_of(nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
def residual_layer(module: Any, inputs: tuple[Any, ...], _output: Any) -> int:
    """A sum around each part, and the activation in the network, unless that is a module."""
    sums = (3 if isinstance(module, nn.TransformerDecoderLayer) else 2) * _elements(inputs[0])
    has_module = isinstance(module.activation, nn.Module)
    return sums + (0 if has_module else _places(inputs[0]) * module.linear1.out_features)


@flops_of(nn.LayerNorm, nn.GroupNorm)
def layer_norm(module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> int:
    """Mean, deviation, its square, their mean, and the quotient; a product and a sum for an affine map."""
    return (5 + _own(module)) * _elements(output)


@flops_of(nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm1d, nn.InstanceNorm2d)
def averaged_norm(module: Any, inputs: tuple[Any, ...], output: Any) -> int | None:
    """A product and a sum with what running averages and weights make together; without those, as above."""
    return layer_norm(module, inputs, output) if module.running_mean is None else 2 * _elements(output)


@flops_of(nn.LocalResponseNorm)
def response_norm(module: nn.LocalResponseNorm, _inputs: tuple[Any, ...], output: Any) -> int:
    """Square, the sum over the window, scale and offset, the power, and the quotient."""
    return (module.size + 5) * _elements(output)


@flops_of(nn.RMSNorm)
def rms_norm(module: nn.RMSNorm, _inputs: tuple[Any, ...], output: Any) -> int:
    """Square, their mean, and the quotient; a product for the weight."""
    return (3 + _own(module)) * _elements(output)


def _own(module: nn.Module) -> int:
    return sum(1 for _ in module.named_parameters(recurse=False))
