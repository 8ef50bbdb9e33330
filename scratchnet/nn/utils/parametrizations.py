"""Weights that are computed from others in every forward pass, and so stay on a surface while they train.

`weight_norm` and `spectral_norm` replace a parameter of a module by the parameters that it is derived from,
under the names of PyTorch's parametrizations. An optimiser is to be made afterwards, of the new parameters.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from scratchnet.nn.container import ModuleDict
from scratchnet.nn.conv import ConvTranspose1d, ConvTranspose2d
from scratchnet.nn.module import Module, Parameter
from scratchnet.rng import RNGLike
from scratchnet.tape import Array, no_grad
from scratchnet.tensor import Tensor

AnyModule = TypeVar("AnyModule", bound=Module)


def weight_norm(module: AnyModule, name: str = "weight", dim: int | None = 0) -> AnyModule:
    """Splits a weight into length and direction, w = g v / ‖v‖, which are then learned apart.

    The gradients are ḡ = w̄·v / ‖v‖ and v̄ = (g / ‖v‖) (w̄ − (ḡ / ‖v‖) v): v̄ stands upright on v, so that v
    grows while it learns, and learns the slower for it.

    Args:
        module: Has the weight; it is changed and given back.
        name: The weight.
        dim: Each slice along this axis has a length of its own; None for one length of the whole weight.

    Returns:
        The module, with the parameters ``parametrizations.NAME.original0`` (g) and ``original1`` (v).

    Raises:
        ValueError: If there is no such parameter, or no such axis.

    Example:
        >>> from scratchnet import nn
        >>> layer = weight_norm(nn.Linear(3, 2, rng=0))
        >>> list(layer.state_dict())
        ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']

    References:
        Salimans and Kingma, "Weight Normalization", 2016, arXiv:1602.07868.
    """
    weight = _parameter(module, name, "weight_norm")
    if dim is not None and not 0 <= dim < weight.ndim:
        raise ValueError(
            f"weight_norm needs dim in 0..{weight.ndim - 1} or None for {name!r} of shape {weight.shape}, got {dim}"
        )
    rule = _WeightNorm(tuple(axis for axis in range(weight.ndim) if axis != dim), keepdims=dim is not None)
    originals = [rule.length(weight.array), weight.array.copy()]
    _derive(module, name, rule, [Parameter(array, weight.requires_grad) for array in originals])
    return module


def spectral_norm(
    module: AnyModule,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    rng: RNGLike = None,
) -> AnyModule:
    """Divides a weight by its largest singular value, w = v / σ(v), so that the layer stretches nothing.

    σ = uᵀ V v̂, where V is the weight as a matrix and its singular vectors u and v̂ are followed by power
    iteration, some steps in each training pass. With them held fixed, the gradient with respect to the
    original is V̄ = (w̄ − (w̄·w) u v̂ᵀ) / σ.

    Args:
        module: Has the weight; it is changed and given back.
        name: The weight.
        n_power_iterations: Steps of power iteration in each pass of training mode.
        eps: Added to no norm, but the least that one is divided by.
        dim: The axis whose slices are the rows of the matrix: the outputs', which is 1 for transposed
            convolutions and 0 for all others, unless it is given.
        rng: Where the vectors start: a generator, a seed, or None for fresh entropy.

    Returns:
        The module, with the parameter ``parametrizations.NAME.original`` and the buffers
        ``parametrizations.NAME.0._u`` and ``_v``. A weight that is a vector is divided by its norm.

    Raises:
        ValueError: If there is no such parameter or axis, or no step.

    Example:
        >>> from scratchnet import nn
        >>> layer = spectral_norm(nn.Linear(3, 2, rng=0), rng=1)
        >>> np.linalg.norm(layer.weight.numpy(), 2).round(4)
        np.float32(1.0)

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, arXiv:1802.05957.
    """
    weight = _parameter(module, name, "spectral_norm")
    if n_power_iterations < 1:
        raise ValueError(f"spectral_norm needs n_power_iterations >= 1, got {n_power_iterations}")
    if dim is None:
        dim = 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d) else 0
    if not -weight.ndim <= dim < weight.ndim:
        raise ValueError(f"spectral_norm needs an axis of {name!r} of shape {weight.shape} as dim, got {dim}")
    rule = _SpectralNorm(weight.array, n_power_iterations, eps, dim, np.random.default_rng(rng))
    _derive(module, name, rule, [weight])
    return module


def remove_parametrizations(module: AnyModule, name: str = "weight") -> AnyModule:
    """Makes a derived weight an ordinary parameter again, with the value that it has.

    Args:
        module: Has the derived weight; it is changed and given back.
        name: The weight.

    Raises:
        ValueError: If the weight is not derived.
    """
    if name not in module._derived:
        raise ValueError(
            f"remove_parametrizations needs a parametrized attribute of {type(module).__name__}, got {name!r}"
        )
    with no_grad():
        value = getattr(module, name).array
    originals = list(module._derived.pop(name).parameters())
    parametrizations: Any = module._modules["parametrizations"]
    del parametrizations[name]
    if not module._derived:
        delattr(module, "parametrizations")
    # A single original stays the same object, which an optimiser may hold.
    parameter = originals[0] if len(originals) == 1 else Parameter(value, originals[0].requires_grad)
    parameter.array[...] = value
    setattr(module, name, parameter)
    return module


# --------------------------------------------------------------------------------------- the rules


class _WeightNorm(Module):
    """w = g v / ‖v‖, the norm over the given axes."""

    def __init__(self, axes: tuple[int, ...], keepdims: bool) -> None:
        super().__init__()
        self.axes = axes
        self.keepdims = keepdims

    def length(self, direction: Any) -> Any:
        """‖v‖, of an array or a tensor."""
        squares = (direction * direction).sum(axis=self.axes, keepdims=self.keepdims)
        return np.sqrt(squares) if isinstance(squares, np.ndarray | np.generic) else squares.sqrt()

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        """See the class."""
        return direction * (length / self.length(direction))


class _SpectralNorm(Module):
    """w = v / σ(v), with singular vectors that follow the weight."""

    _u: Array
    _v: Array

    def __init__(
        self, weight: Array, n_power_iterations: int, eps: float, dim: int, generator: np.random.Generator
    ) -> None:
        super().__init__()
        self.n_power_iterations = n_power_iterations
        self.eps = eps
        self.axes = (dim % weight.ndim, *(axis for axis in range(weight.ndim) if axis != dim % weight.ndim))
        if weight.ndim > 1:
            matrix = self._matrix(weight)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                start = generator.standard_normal(size).astype(weight.dtype)
                self.register_buffer(name, self._unit(start))
            # Near enough that the first passes of training are no other than the later ones.
            self._follow(matrix, 15)

    def _matrix(self, weight: Any) -> Any:
        """The weight's slices as rows, of an array or a tensor."""
        rows = weight.transpose(*self.axes)
        return rows.reshape(rows.shape[0], -1)

    def _unit(self, vector: Array) -> Array:
        return vector / max(float(np.linalg.norm(vector)), self.eps)

    def _follow(self, matrix: Array, steps: int) -> None:
        for _ in range(steps):
            self._u = self._unit(matrix @ self._v)
            self._v = self._unit(self._u @ matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """See the class."""
        if weight.ndim == 1:
            return weight / (weight * weight).sum().sqrt()
        matrix = self._matrix(weight)
        if self.training:
            self._follow(matrix.array, self.n_power_iterations)
        return weight / (matrix @ self._v * self._u).sum()


class _Parametrized(Module):
    """Parameters, and the rule by which a weight is derived of them."""

    def __init__(self, rule: Module, originals: Sequence[Parameter]) -> None:
        super().__init__()
        names = ["original"] if len(originals) == 1 else [f"original{n}" for n in range(len(originals))]
        for name, parameter in zip(names, originals, strict=True):
            setattr(self, name, parameter)
        setattr(self, "0", rule)

    def forward(self) -> Tensor:
        """See the class."""
        return self._modules["0"](*self._parameters.values())


def _parameter(module: Module, name: str, caller: str) -> Parameter:
    parameter = module._parameters.get(name)
    if parameter is None:
        state = "derived already" if name in module._derived else "none"
        raise ValueError(
            f"{caller} needs a parameter of {type(module).__name__}, {name!r} is {state}; "
            f"it has {list(module._parameters) or 'no parameters'}"
        )
    return parameter


def _derive(module: Module, name: str, rule: Module, originals: Sequence[Parameter]) -> None:
    delattr(module, name)
    parametrized = _Parametrized(rule, originals).train(module.training)
    parametrizations: Any = module._modules.get("parametrizations", ModuleDict())
    parametrizations[name] = parametrized
    setattr(module, "parametrizations", parametrizations)  # noqa: B010 - no module declares it
    module._derived[name] = parametrized
