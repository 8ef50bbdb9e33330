"""How large gradients are, and how they change with depth."""

from probes.arrays import Array, detached, namespace_of, norm, quotient, widest_float
from probes.catalogue import probe


@probe(
    unit="loss per weight",
    eats="gradient",
    cost="cheap",
    source="Pascanu et al., On the difficulty of training recurrent neural networks, 2013, arXiv:1211.5063",
)
def gradient_norm(gradient: Array) -> Array:
    """Euclidean norm of a parameter's gradient.

    It tells vanishing and exploding gradients [1] when it is compared over depth or time. It grows with
    the number of entries, so two parameters of different size are not compared by it; and it is the
    gradient of the loss as it is reduced, so a sum over the batch has a norm that a mean does not.

    Args:
        gradient: Gradient of the loss with respect to a parameter (not to a layer's output), any shape.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``gradient``; 0 for an empty one, NaN or
        infinite where an entry is.

    Example:
        >>> float(gradient_norm(np.array([[3.0, 0.0], [0.0, 4.0]])))
        5.0

    References:
        [1] Pascanu et al., "On the difficulty of training recurrent neural networks", 2013, arXiv:1211.5063.
    """
    return norm(gradient)


def combined_norm(norms: Array) -> Array:
    """Norm of parts that are measured already: a layer's from its parameters, the network's from its layers.

    Args:
        norms: Norms of the parts, shape ``(parts,)``.

    Returns:
        The root of the sum of their squares, 0-d, float64 in the library of ``norms``; it neither overflows
        nor underflows where the result does not.

    Raises:
        ValueError: If there is not one norm, or they are not 1-D.

    Example:
        >>> float(combined_norm(np.array([3.0, 4.0])))
        5.0
    """
    _check_row("combined_norm", norms, least=1)
    return norm(norms)


@probe(
    unit="1",
    eats="norms",
    cost="free",
    source="Glorot and Bengio, Understanding the difficulty of training deep networks, 2010",
)
def gradient_norm_ratio(norms: Array) -> Array:
    """Gradient norm of the first layer over that of the last.

    Far below 1 the gradient vanishes on its way back, far above 1 it explodes [1]. Layers of very
    different size move it without either, and a skip connection hides what happens between.

    Args:
        norms: Gradient norms of the layers in order of execution, shape ``(layers,)``.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``norms``: 1 means the same at both ends,
        infinity that only the last layer's is zero, NaN that both are or that one is NaN.

    Raises:
        ValueError: If there are fewer than two norms, or they are not 1-D.

    Example:
        >>> float(gradient_norm_ratio(np.array([0.5, 7.0, 2.0])))
        0.25

    References:
        [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
            networks", 2010.
    """
    _check_row("gradient_norm_ratio", norms, least=2)
    row = namespace_of(norms).astype(detached(norms), widest_float(norms))
    return quotient(row[0], row[-1])


def _check_row(caller: str, norms: Array, least: int) -> None:
    if norms.ndim != 1 or norms.shape[0] < least:
        wanted = "one norm" if least == 1 else "two norms"
        raise ValueError(
            f"{caller} needs a 1-D array of at least {wanted}, got shape {tuple(norms.shape)}; "
            f"stack the norms of the layers that have a gradient"
        )
