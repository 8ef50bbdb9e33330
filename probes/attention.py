"""Where attention looks: how widely it spreads, and how large the logits grow that decide it."""

import numpy as np

from probes.arrays import Array, namespace_of, quotient, readable, returned, widest_float
from probes.catalogue import probe


@probe(
    unit="nats",
    eats="attention",
    cost="dear",
    source="Zhai et al., Stabilizing Transformer Training by Preventing Attention Entropy Collapse, 2023, "
    "arXiv:2303.06296",
)
def attention_entropy(attention: Array, counted: Array | None = None) -> Array:
    """Entropy of where a query looks, as a mean over queries, of each head.

    Entropy that collapses towards 0 in many heads while the loss becomes unsteady tells logits that have
    grown too large [1]. A head that looks at one position on purpose, such as the one before, is sharp in
    health, and under a causal mask the first query has nothing to choose from and brings the mean down.
    The largest value possible is the logarithm of the number of keys, so compare equal lengths.

    Args:
        attention: Weights after the softmax and before dropout, shape ``(batch, heads, queries, keys)``;
            each query's weights add up to 1. A masked query with no weight at all is left out.
        counted: Booleans of shape ``(batch, queries)``, false for queries that are padding; their weights
            are not looked at, and may be NaN. All count if it is None.

    Returns:
        Numbers between 0 and ``log(keys)``, shape ``(heads,)``, float64 in the library of ``attention``.
        NaN for a head in which no query counts, and for one that holds NaN or negative weights.

    Raises:
        ValueError: If ``attention`` is not 4-D, or is empty, or ``counted`` does not fit it.

    Example:
        >>> even, sharp = np.full((2, 4), 0.25), np.eye(2, 4)
        >>> attention_entropy(np.stack([even, sharp])[None]).round(6).tolist()
        [1.386294, 0.0]

    References:
        [1] Zhai et al., "Stabilizing Transformer Training by Preventing Attention Entropy Collapse", 2023,
            arXiv:2303.06296.
    """
    _check_heads("attention_entropy", attention)
    _check_counted(attention, counted)
    seen = _floating(readable(attention))
    namespace, exact = namespace_of(seen), widest_float(seen)
    with np.errstate(all="ignore"):
        # Where a weight is 0 the logarithm of 1 stands in for its own, since p log p goes to 0 with p.
        logarithms = namespace.log(namespace.where(seen == 0, 1.0, seen))
        entropies = -namespace.sum(seen * logarithms, axis=-1, dtype=exact)
        # `!=` and not `>`: a query with NaN among its weights is to count.
        counts = namespace.any(seen != 0, axis=-1)
        if counted is not None:
            counts = counts & readable(counted)[:, None, :]
        total = namespace.sum(namespace.where(counts, entropies, 0.0), axis=(0, 2))
        queries = namespace.sum(namespace.astype(counts, exact), axis=(0, 2))
    return returned(quotient(total, queries), attention)


@probe(
    unit="nats",
    eats="attention_logits",
    cost="cheap",
    source="Dehghani et al., Scaling Vision Transformers to 22 Billion Parameters, 2023, arXiv:2302.05442",
)
def largest_attention_logit(logits: Array) -> Array:
    """Largest attention logit of each head over all queries and keys.

    Logits that grow without end turn attention into a hard choice that passes no gradient back; it shows
    here before `attention_entropy` falls and the loss jumps [1]. The softmax sees only differences, so a
    large logit among equally large ones does no harm, and the largest of many grows with batch and length.

    Args:
        logits: Scaled products of queries with keys as they enter the softmax, shape
            ``(batch, heads, queries, keys)``; masked ones at minus infinity, or at a large negative number.

    Returns:
        The largest logit, signed, shape ``(heads,)``, in the library of ``logits`` and in its precision,
        float32 at least; minus infinity for a head that is masked everywhere. NaN carries through.

    Raises:
        ValueError: If ``logits`` is not 4-D, or is empty.

    Example:
        >>> logits = np.array([[[[0.5, -np.inf], [2.0, -7.0]]]])
        >>> largest_attention_logit(logits).tolist()
        [2.0]

    References:
        [1] Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023, arXiv:2302.05442.
    """
    _check_heads("largest_attention_logit", logits)
    seen = readable(logits)
    with np.errstate(all="ignore"):
        largest = namespace_of(seen).max(seen, axis=(0, 2, 3))
    return returned(_floating(largest), logits)


def _floating(array: Array) -> Array:
    """In its own precision, float32 at least; integers in the widest float."""
    namespace = namespace_of(array)
    if array.dtype in (namespace.float32, namespace.float64):
        return array
    is_narrow = namespace.isdtype(array.dtype, "real floating")
    return namespace.astype(array, namespace.float32 if is_narrow else widest_float(array))


def _check_heads(caller: str, array: Array) -> None:
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(
            f"{caller} needs shape (batch, heads, queries, keys), none of them 0, got {tuple(array.shape)}; "
            f"ask for the heads one by one, not averaged, and give a single example an axis of its own"
        )


def _check_counted(attention: Array, counted: Array | None) -> None:
    if counted is None:
        return
    expected = (attention.shape[0], attention.shape[2])
    if tuple(counted.shape) != expected or not namespace_of(counted).isdtype(counted.dtype, "bool"):
        raise ValueError(
            f"attention_entropy needs counted to be booleans of shape (batch, queries) = {expected}, got "
            f"{counted.dtype} of shape {tuple(counted.shape)}; pass True where a query is not padding"
        )
