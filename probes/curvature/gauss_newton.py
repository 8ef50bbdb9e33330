"""Products with curvature that is never negative: the Gauss-Newton matrix and the Fisher information."""

from collections.abc import Callable

from probes.arrays import Array, detached, namespace_of
from probes.curvature.product import Hvp


def make_gauss_newton_vp(
    jvp: Callable[[Array], Array], vjp: Callable[[Array], Array], output_hvp: Callable[[Array], Array]
) -> Hvp:
    """A product with the Gauss-Newton matrix ``Jᵀ H J``, from three products that a framework has.

    J is the Jacobian of the network's outputs by its weights, H the Hessian of the loss by the outputs. The
    matrix is the Hessian without the curvature of the network itself: no negative eigenvalues where the
    loss is convex in the outputs, and the same as the Hessian where every residual is zero [1]. For
    cross-entropy on logits and for squared error it is the Fisher information of the model's own
    predictions [2]. It misleads far from a fit, where it shows none of the negative curvature that is
    there; the difference of its trace from the Hessian's tells how much is missing.

    Args:
        jvp: Takes a flat vector of shape ``(dim,)`` and returns J times it, in the outputs' shape.
        vjp: Takes an array of the outputs' shape and returns Jᵀ times it, shape ``(dim,)``.
        output_hvp: Takes an array of the outputs' shape and returns H times it, same shape.

    Returns:
        A function from a flat vector to a flat vector, for any measure that takes an ``hvp``; these refuse
        it where ``vjp`` is not the transpose of ``jvp``, as a product that no symmetric matrix has.

    Example:
        >>> jacobian = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
        >>> ggn_vp = make_gauss_newton_vp(
        ...     lambda v: jacobian @ v, lambda u: jacobian.T @ u, lambda u: 2 * u
        ... )
        >>> ggn_vp(np.array([1.0, 0.0])).tolist()
        [20.0, 4.0]

    References:
        [1] Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent", 2002.
        [2] Martens, "New Insights and Perspectives on the Natural Gradient Method", 2020, arXiv:1412.1193.
    """

    def gauss_newton_vp(vector: Array) -> Array:
        return vjp(output_hvp(jvp(vector)))

    return gauss_newton_vp


def make_empirical_fisher_vp(gradients: Array) -> Hvp:
    """A product with the mean of ``g gᵀ`` over per-example gradients g.

    With gradients for labels drawn from the model's own predictions it is an estimate, without bias, of the
    Fisher information, and so of the Gauss-Newton matrix for cross-entropy. With the labels of the data it
    is the empirical Fisher, which is something else: it is not centred, shrinks to zero as the fit
    becomes exact however sharp the minimum is, and scales its directions by residuals, so that it is no
    stand-in for curvature unless the model is well specified, the data many and the weights near the
    optimum [1]. Its rank is at most the number of examples.

    Args:
        gradients: One example's gradient in each row, float32 or float64, shape ``(examples, dim)``. They
            are read at each product and not copied.

    Returns:
        A function from a flat vector to a flat vector, for any measure that takes an ``hvp``; give that
        measure ``like=gradients``.

    Raises:
        ValueError: If ``gradients`` is no such matrix or has no entries; and, from the product, if a vector
            is of another library or dtype.

    Example:
        >>> fisher_vp = make_empirical_fisher_vp(np.array([[2.0, 0.0], [0.0, 4.0]]))
        >>> fisher_vp(np.array([1.0, 1.0])).tolist()
        [2.0, 8.0]

    References:
        [1] Kunstner, Balles and Hennig, "Limitations of the Empirical Fisher Approximation for Natural
            Gradient Descent", 2019, arXiv:1905.12558.
    """
    gradients = detached(gradients)
    _check_gradients(gradients)
    matmul, examples = namespace_of(gradients).matmul, gradients.shape[0]

    def empirical_fisher_vp(vector: Array) -> Array:
        if vector.dtype != gradients.dtype:
            raise ValueError(
                f"make_empirical_fisher_vp needs vectors of the gradients' own kind, {gradients.dtype}, got "
                f"{vector.dtype}; give the measure like=gradients"
            )
        return matmul(matmul(gradients, vector), gradients) / examples

    return empirical_fisher_vp


def _check_gradients(gradients: Array) -> None:
    namespace, shape = namespace_of(gradients), tuple(gradients.shape)
    if len(shape) == 2 and 0 not in shape and gradients.dtype in (namespace.float32, namespace.float64):
        return
    raise ValueError(
        f"make_empirical_fisher_vp needs gradients of shape (examples, dim) in float32 or float64, got "
        f"{gradients.dtype} of shape {shape}; flatten each example's gradients, join them into one row, and "
        f"stack the rows"
    )
