"""Derivatives beyond the gradient: products with Jacobians and Hessians, and a check against differences."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from scratchnet.backward import grad
from scratchnet.forward import push_forward
from scratchnet.rng import RNGLike
from scratchnet.tape import Array, Variable, recording
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
        _check_shapes("hvp", parameters, vectors)
        # A gradient that depends on no parameter (of a linear loss, say) has no tape: its product is zero.
        pairs = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g.requires_grad]
        if not pairs:
            return [np.zeros_like(p.array) for p in parameters]
        with recording(True):
            product = sum((g * v).sum() for g, v in pairs)
        return _pulled(product, parameters, None)

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


def forward_hvp(closure: Closure, parameters: Sequence[Tensor], vectors: Sequence[Array]) -> list[Array]:
    """The product of `hvp`, found the other way: the gradient is recorded, and the vector pushed through it.

    Forward over reverse mode. It visits the tape in the opposite direction and multiplies by other
    Jacobians than `hvp` does, so that the two can witness for each other; it costs more.

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
        >>> forward_hvp(lambda: (x**3).sum(), [x], [np.array([1.0, 1.0])])
        [array([ 6., 12.])]

    References:
        Griewank and Walther, "Evaluating Derivatives", 2008, chapter 5.
    """
    parameters = list(parameters)
    tangents = _tangents("forward_hvp", parameters, vectors)
    with recording(True):
        gradients = grad(closure(), parameters, create_graph=True)
    return push_forward(gradients, tangents)


def vjp(closure: Closure, parameters: Sequence[Tensor], cotangent: Array) -> list[Array]:
    """Vector-Jacobian product Jᵀ u, the gradient of ⟨u, f⟩: one backward pass.

    Args:
        closure: Computes f from the parameters, a tensor of any shape.
        parameters: With respect to which the Jacobian is taken.
        cotangent: u, in the shape of f.

    Returns:
        Arrays shaped like the parameters; zeros where f does not depend on one.

    Raises:
        ValueError: If the cotangent has another shape than f.

    Example:
        >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
        >>> vjp(lambda: x * x, [x], np.array([1.0, 10.0]))
        [array([ 2., 40.])]
    """
    parameters = list(parameters)
    with recording(True):
        output = closure()
    return _pulled(output, parameters, cotangent)


def jvp(closure: Closure, parameters: Sequence[Tensor], vectors: Sequence[Array]) -> Array:
    """Jacobian-vector product J v, the derivative of f along a direction: one forward pass over the tape.

    Args:
        closure: Computes f from the parameters, a tensor of any shape.
        parameters: With respect to which the Jacobian is taken.
        vectors: v, arrays shaped like the parameters.

    Returns:
        An array in the shape of f.

    Raises:
        ValueError: If the vectors are not shaped like the parameters.

    Example:
        >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
        >>> jvp(lambda: x * x, [x], [np.array([1.0, 10.0])])
        array([ 2., 40.])
    """
    tangents = _tangents("jvp", list(parameters), vectors)
    with recording(True):
        output = closure()
    return push_forward([output], tangents)[0]


def make_ggn_vp(
    predict: Closure, loss: Callable[[Tensor], Tensor], parameters: Sequence[Tensor]
) -> Callable[[Sequence[Array]], list[Array]]:
    """A function that multiplies vectors by the generalised Gauss-Newton matrix G = Jᵀ H J.

    J is the Jacobian of the predictions and H the Hessian of the loss with respect to them. G is the part
    of the loss's Hessian that the curvature of the network itself does not enter: it has no negative
    eigenvalues where the loss is convex in the predictions, and equals the Fisher information for
    cross-entropy.

    Args:
        predict: Computes the predictions. It is called once.
        loss: The loss of given predictions, a scalar tensor.
        parameters: They must not change while products are taken.

    Returns:
        A function from a list of arrays, shaped like the parameters, to such a list.

    References:
        Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent", 2002.
    """
    parameters = list(parameters)
    with recording(True):
        predictions = predict()
    at = Tensor(predictions.numpy(), requires_grad=True)
    curvature = make_hvp(lambda: loss(at), [at])

    def ggn_vp(vectors: Sequence[Array]) -> list[Array]:
        tangents = _tangents("ggn_vp", parameters, vectors)
        moved = push_forward([predictions], tangents)
        return _pulled(predictions, parameters, curvature(moved)[0])

    return ggn_vp


def ggn_vp(
    predict: Closure,
    loss: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    vectors: Sequence[Array],
) -> list[Array]:
    """The product of the generalised Gauss-Newton matrix with a vector; see `make_ggn_vp`.

    Args:
        predict: Computes the predictions.
        loss: The loss of given predictions, a scalar tensor.
        parameters: With respect to which the Jacobian is taken.
        vectors: Arrays shaped like the parameters.

    Returns:
        Arrays shaped like the parameters.

    Example:
        >>> w = Tensor(np.array([3.0]), requires_grad=True)
        >>> ggn_vp(lambda: w * w, lambda y: (y * y).sum(), [w], [np.array([1.0])])  # (2w)² · 2
        [array([72.])]
    """
    return make_ggn_vp(predict, loss, parameters)(vectors)


def jacobian(closure: Closure, parameters: Sequence[Tensor]) -> list[Array]:
    """The whole Jacobian, row by row: a backward pass for each element of the output.

    Args:
        closure: Computes f from the parameters, a tensor of any shape.
        parameters: With respect to which it is taken.

    Returns:
        One array a parameter, in the shape of f followed by the shape of the parameter.

    Example:
        >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
        >>> jacobian(lambda: x * x, [x])
        [array([[2., 0.],
               [0., 4.]])]
    """
    parameters = list(parameters)
    with recording(True):
        output = closure()
    rows = np.eye(output.size, dtype=output.dtype).reshape(-1, *output.shape)
    pulled = [_pulled(output, parameters, row) for row in rows]
    return [
        np.array([row[index] for row in pulled], p.dtype).reshape(*output.shape, *p.shape)
        for index, p in enumerate(parameters)
    ]


def hessian(closure: Closure, parameters: Sequence[Tensor]) -> Array:
    """The whole Hessian of a loss, column by column: a product for each weight.

    Meant for small networks and for checks; n weights take n products and n² numbers.

    Args:
        closure: Computes the loss, a scalar tensor.
        parameters: With respect to which it is taken, laid side by side in their order.

    Returns:
        A symmetric matrix, shape ``(n, n)``.

    Example:
        >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
        >>> hessian(lambda: x[0] * x[1], [x])
        array([[0., 1.],
               [1., 0.]])
    """
    parameters = list(parameters)
    product = make_hvp(closure, parameters)
    sizes = np.cumsum([p.size for p in parameters])
    columns = np.eye(int(sizes[-1]), dtype=parameters[0].dtype)
    return np.stack(
        [
            np.concatenate([part.ravel() for part in product(_parts(column, sizes, parameters))])
            for column in columns
        ],
        axis=1,
    )


def per_example_gradients(
    loss: Callable[..., Tensor], parameters: Sequence[Tensor], *batch: Array
) -> list[Array]:
    """The gradient that each example alone would give.

    Their spread is the noise of a stochastic gradient. Each example makes a pass of its own, so that what
    mixes examples (batch normalisation in training mode) sees a batch of one.

    Args:
        loss: ``loss(*examples)``, the loss of a batch, called with one example at a time.
        parameters: With respect to which gradients are taken.
        batch: Arrays with one example in each row.

    Returns:
        One array a parameter, shape ``(batch, *parameter)``; their mean is the gradient of a mean loss.

    Raises:
        ValueError: If the arrays differ in length, or are empty.

    Example:
        >>> w = Tensor(np.array([3.0]), requires_grad=True)
        >>> per_example_gradients(lambda x: (w * x).sum(), [w], np.array([1.0, 2.0]))
        [array([[1.],
               [2.]])]
    """
    lengths = {len(array) for array in batch}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            f"per_example_gradients needs arrays of one length, not empty, got lengths {sorted(lengths)}"
        )
    parameters = list(parameters)
    one = np.ones(())
    each = []
    for row in range(lengths.pop()):
        example = [array[row : row + 1] for array in batch]
        each.append(vjp(partial(loss, *example), parameters, one))
    return [np.stack([gradients[index] for gradients in each]) for index in range(len(parameters))]


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


def _pulled(output: Tensor, parameters: Sequence[Tensor], cotangent: Any) -> list[Array]:
    if not output.requires_grad:
        return [np.zeros_like(p.array) for p in parameters]
    gradients = grad(output, parameters, cotangent, retain_graph=True, allow_unused=True)
    return [
        np.zeros_like(p.array) if g is None else g.numpy() for p, g in zip(parameters, gradients, strict=True)
    ]


def _parts(flat: Array, bounds: Array, parameters: Sequence[Tensor]) -> list[Array]:
    pieces = np.split(flat, bounds[:-1])
    return [piece.reshape(p.shape) for piece, p in zip(pieces, parameters, strict=True)]


def _tangents(caller: str, parameters: Sequence[Tensor], vectors: Sequence[Any]) -> dict[Variable, Array]:
    _check_shapes(caller, parameters, vectors)
    return {p: np.asarray(v, p.dtype) for p, v in zip(parameters, vectors, strict=True)}


def _check_shapes(caller: str, parameters: Sequence[Tensor], vectors: Sequence[Any]) -> None:
    wanted, came = [p.shape for p in parameters], [np.shape(v) for v in vectors]
    if wanted != came:
        raise ValueError(f"{caller} needs vectors shaped like the parameters, {wanted}, got {came}")
