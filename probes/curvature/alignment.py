"""Where the gradient and the update lie among the directions of curvature."""

import math

import numpy as np
from array_api_compat import to_device

from probes.arrays import Array, detached, namespace_of, norm, widest_float
from probes.catalogue import probe
from probes.curvature.product import Hvp, Product


@probe(
    unit="fraction of the squared norm",
    eats=("gradient", "matrix"),
    cost="cheap",
    source="Gur-Ari et al., Gradient Descent Happens in a Tiny Subspace, 2018",
)
def eigenspace_alignment(gradient: Array, vectors: Array) -> Array:
    """Share of the gradient's squared norm that lies in the space of some eigenvectors.

    Soon after the start of training most of a classifier's gradient lies in the space of as many top
    eigenvectors as it has classes [1]: the loss goes up and down along few sharp directions, while what is
    learnt may hide in the small rest. Compare with ``k / dim``, the share of a random direction; and with
    the residuals of the vectors, for a space between two close eigenvalues is half chance.

    Args:
        gradient: Flat gradient, shape ``(dim,)``.
        vectors: Orthonormal vectors, one a row, shape ``(k, dim)``: the ``vectors`` of `top_eigenvalues`.

    Returns:
        A number in [0, 1] up to rounding, 0-d, in the library of ``gradient``; NaN where the gradient is
        zero or not finite.

    Raises:
        ValueError: If the shapes do not fit, or the vectors are not orthonormal.

    Example:
        >>> round(float(eigenspace_alignment(np.array([3.0, 4.0]), np.array([[0.0, 1.0]]))), 6)
        0.64

    References:
        [1] Gur-Ari, Roberts and Dyer, "Gradient Descent Happens in a Tiny Subspace", 2018,
            arXiv:1812.04754.
    """
    if gradient.ndim != 1 or vectors.ndim != 2 or vectors.shape[1] != gradient.shape[0]:
        raise ValueError(
            f"eigenspace_alignment needs a flat gradient and vectors of its length, one a row, got shapes "
            f"{tuple(gradient.shape)} and {tuple(vectors.shape)}; flatten and join the gradients"
        )
    namespace, dtype = namespace_of(gradient, vectors), widest_float(gradient)
    rows = namespace.astype(detached(vectors), dtype, copy=False)
    _check_orthonormal(vectors, namespace.matmul(rows, rows.T))
    size = norm(gradient)
    with np.errstate(all="ignore"):
        direction = namespace.astype(detached(gradient), dtype, copy=False) / size
        return norm(namespace.matmul(rows, direction)) ** 2


@probe(
    unit="loss per squared weight",
    eats=("hvp", "update"),
    cost="dear",
    source="Pan and Li, Toward Understanding Why Adam Converges Faster Than SGD for Transformers, 2023",
)
def directional_sharpness(hvp: Hvp, update: Array) -> Array:
    """Curvature of the loss along an update: ``uᵀ H u / ‖u‖²``.

    The largest eigenvalue is the worst direction; this is the one in which the optimiser goes. To second
    order a step u changes the loss by ``gᵀu + ½ uᵀHu``, so a descent step overshoots where this passes
    ``-2 gᵀu / ‖u‖²``, which for plain gradient descent is 2/η. It may be small while the sharpness is
    large: that is how adaptive optimisers get by [1].

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        update: What the step adds to the weights, flat, shape ``(dim,)``, float32 or float64; its length
            does not matter.

    Returns:
        A number between the smallest and the largest eigenvalue, 0-d, in the library of ``update``; NaN
        where the update is zero or not finite.

    Raises:
        ValueError: If ``update`` is not a flat float32 or float64 array, or ``hvp`` returns another shape
            or library, or a non-finite entry.

    Example:
        >>> curvature = np.array([3.0, 1.0, -10.0])
        >>> float(directional_sharpness(lambda v: curvature * v, np.array([1.0, 1.0, 0.0])).round(6))
        2.0

    References:
        [1] Pan and Li, "Toward Understanding Why Adam Converges Faster Than SGD for Transformers", 2023,
            arXiv:2306.00204.
    """
    if update.ndim != 1:
        raise ValueError(
            f"directional_sharpness needs a flat update, got shape {tuple(update.shape)}; "
            f"flatten and join the updates of all parameters, in the order that hvp has them"
        )
    product = Product("directional_sharpness", hvp, update.shape[0], update)
    size = float(norm(update))
    if size == 0 or not math.isfinite(size):
        return product.give(np.array(math.nan))
    direction = detached(update) / size
    return product.namespace.matmul(direction, product(direction)[0])


def _check_orthonormal(vectors: Array, gram: Array) -> None:
    distance = np.abs(np.asarray(to_device(gram, "cpu")) - np.eye(len(gram))).max(initial=0.0)
    allowed = float(namespace_of(vectors).finfo(vectors.dtype).eps) ** (1 / 3)
    # Written so that NaN is refused too.
    if not distance <= allowed:
        raise ValueError(
            f"eigenspace_alignment needs orthonormal vectors, got some whose products are off by "
            f"{distance:.2g}; give the vectors that top_eigenvalues returns"
        )
