"""Derivatives of a loss: Hessian-vector products, and a check of gradients against differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scratchnet.backward import grad
from scratchnet.rng import RNGLike
from scratchnet.tape import Array, recording
from scratchnet.tensor import Tensor

Closure = Callable[[], Tensor]


def make_hvp(closure: Closure, parameters: Sequence[Tensor]) -> Callable[[Sequence[Array]], list[Array]]:
    """A function that multiplies vectors by the Hessian of a loss, exactly.

    The gradient g is taken once and its tape kept; each product is then the gradient of ⟨g, v⟩, which
    costs about two gradients (Pearlmutter's trick, in reverse over reverse mode).

    Args:
        closure: Computes the loss, a scalar tensor. It is called once.
        parameters: With respect to which the Hessian is taken; they must not change while products are taken.

    Returns:
        A function from a list of arrays, shaped like the parameters, to such a list.

    Raises:
        RuntimeError: If the loss does not depend on the parameters.

    References:
        Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994.
    """
    parameters = list(parameters)
    with recording(True):
        gradients = grad(closure(), parameters, create_graph=True)

    def hvp(vectors: Sequence[Array]) -> list[Array]:
        _check_shapes(parameters, vectors)
        # A gradient that depends on no parameter (of a linear loss, say) has no tape: its product is zero.
        pairs = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g.requires_grad]
        if not pairs:
            return [np.zeros_like(p.array) for p in parameters]
        with recording(True):
            product = sum((g * v).sum() for g, v in pairs)
        columns = grad(product, parameters, retain_graph=True, allow_unused=True)
        return [
            np.zeros_like(p.array) if c is None else c.numpy()
            for p, c in zip(parameters, columns, strict=True)
        ]

    return hvp


def hvp(closure: Closure, parameters: Sequence[Tensor], vectors: Sequence[Array]) -> list[Array]:
    """The product of a loss's Hessian with a vector.

    Args:
        closure: Computes the loss, a scalar tensor.
        parameters: With respect to which the Hessian is taken.
        vectors: Arrays shaped like the parameters.

    Returns:
        Arrays shaped like the parameters.

    Raises:
        ValueError: If the vectors are not shaped like the parameters.

    Example:
        >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
        >>> hvp(lambda: (x**3).sum(), [x], [np.array([1.0, 1.0])])  # the Hessian is diag(6x)
        [array([ 6., 12.])]
    """
    return make_hvp(closure, parameters)(vectors)


def check_gradients(
    closure: Closure,
    parameters: Sequence[Tensor],
    *,
    order: int = 2,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    rng: RNGLike = None,
) -> float:
    """Compares derivatives with central differences along random directions.

    Order 1 compares ⟨g, v⟩ with a difference of the loss, order 2 also H v with a difference of gradients.
    Kinks within a step of the point (a ReLU at zero), and a derivative that is zero but for rounding, make
    an honest gradient fail: move the point.

    Args:
        closure: Computes the loss from the parameters, the same for the same parameters.
        parameters: In float64; each is moved and put back.
        order: 1 or 2.
        step: Distance to either side.
        tolerance: Largest relative error that passes.
        rng: Generator, seed or None.

    Returns:
        The largest relative error that was found.

    Raises:
        ValueError: If the order is unknown or a parameter is not float64.
        AssertionError: If an error exceeds the tolerance.
    """
    if order not in (1, 2):
        raise ValueError(f"check_gradients needs order 1 or 2, got {order}")
    for position, parameter in enumerate(parameters):
        if parameter.dtype != np.float64:
            raise ValueError(
                f"check_gradients needs float64, got {parameter.dtype} for parameter {position}; "
                f"use model.double()"
            )
    generator = np.random.default_rng(rng)
    vectors = [generator.standard_normal(p.shape) for p in parameters]
    slopes = grad(closure(), parameters)
    exact = sum(float(np.vdot(g.numpy(), v)) for g, v in zip(slopes, vectors, strict=True))
    losses = _at_both_sides(parameters, vectors, step, lambda: [np.asarray(closure().numpy())])
    errors = {1: _relative_error([np.asarray(exact)], losses)}
    if order == 2:
        products = hvp(closure, parameters, vectors)
        differences = _at_both_sides(
            parameters, vectors, step, lambda: [g.numpy().copy() for g in grad(closure(), parameters)]
        )
        errors[2] = _relative_error(products, differences)
    for number, error in errors.items():
        if not error <= tolerance:
            raise AssertionError(
                f"check_gradients found a relative error of {error:.3g} at order {number}, "
                f"more than the tolerance {tolerance:g}"
            )
    return max(errors.values())


def _at_both_sides(
    parameters: Sequence[Tensor], vectors: Sequence[Array], step: float, compute: Callable[[], list[Array]]
) -> list[Array]:
    """Central difference of ``compute`` along the vectors."""
    start = [p.array.copy() for p in parameters]

    def at(distance: float) -> list[Array]:
        for p, origin, v in zip(parameters, start, vectors, strict=True):
            p.array[...] = origin + distance * v
        return compute()

    try:
        return [(ahead - behind) / (2 * step) for ahead, behind in zip(at(step), at(-step), strict=True)]
    finally:
        for p, origin in zip(parameters, start, strict=True):
            p.array[...] = origin


def _relative_error(exact: Sequence[Array], estimate: Sequence[Array]) -> float:
    difference = np.sqrt(sum(float(np.sum((a - b) ** 2)) for a, b in zip(exact, estimate, strict=True)))
    size = np.sqrt(sum(float(np.sum(np.square(a))) for a in exact))
    return float(difference / max(size, 1e-12))


def _check_shapes(parameters: Sequence[Tensor], vectors: Sequence[Any]) -> None:
    wanted, came = [p.shape for p in parameters], [np.shape(v) for v in vectors]
    if wanted != came:
        raise ValueError(f"hvp needs vectors shaped like the parameters, {wanted}, got {came}")
