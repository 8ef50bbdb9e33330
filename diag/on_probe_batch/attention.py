"""Where attention looks on a batch, asked of the module itself while it runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np

from probes.arrays import Array
from probes.rows import on_host

# Layer, its weights and its logits, ``(batch, heads, queries, keys)`` each; no logits where keys were added.
Told = Callable[[str, Array, Array | None], None]


@contextmanager
def attention_told(modules: Mapping[str, Any], tell: Told) -> Iterator[None]:
    """Has every multi-head attention among the modules, each time that it runs, tell where it looks.

    A module is asked a second time with the weights wanted, for most callers do not want them.
    """
    found = {name: module for name, module in modules.items() if is_attention(module)}
    kept = {name: vars(module).get("forward") for name, module in found.items()}
    for name, module in found.items():
        module.forward = _telling(name, module, module.forward, tell)
    try:
        yield
    finally:
        for name, module in found.items():
            if kept[name] is None:
                del module.forward
            else:
                module.forward = kept[name]


def is_attention(module: Any) -> bool:
    """Whether a module is multi-head attention, of either framework or derived from it."""
    return (
        hasattr(module, "num_heads") and "average_attn_weights" in signature(type(module).forward).parameters
    )


def _telling(name: str, module: Any, forward: Callable[..., Any], tell: Told) -> Callable[..., Any]:
    def listening(*inputs: Any, **options: Any) -> Any:
        given = signature(forward).bind(*inputs, **options)
        asked = {**given.arguments, "need_weights": True, "average_attn_weights": False}
        weights = _plain(forward(**asked)[1])
        # A single example without an axis of its own is a batch of one.
        weights = weights[None] if weights.ndim == 3 else weights
        scores = _scores(module, given.arguments["query"], given.arguments["key"])
        # What is masked has no weight, nor has what lies so far below the largest that it does not count.
        is_whole = scores.size == weights.size
        logits = np.where(weights > 0, scores.reshape(weights.shape), -np.inf) if is_whole else None
        tell(name, weights, logits)
        return forward(*inputs, **options)

    return listening


def _scores(module: Any, query: Any, key: Any) -> Array:
    """Scaled products of queries with keys before any mask, by the module's own projections."""
    size = module.embed_dim
    if module.in_proj_weight is None:
        weights = module.q_proj_weight, module.k_proj_weight
    else:
        weights = module.in_proj_weight[:size], module.in_proj_weight[size : 2 * size]
    bias = module.in_proj_bias
    biases = (None, None) if bias is None else (bias[:size], bias[size : 2 * size])
    q, k = (
        _heads(module, _plain(x), _plain(weight), None if bias is None else _plain(bias))
        for x, weight, bias in zip((query, key), weights, biases, strict=True)
    )
    return q @ np.swapaxes(k, -1, -2) / np.sqrt(module.head_dim)


def _heads(module: Any, x: Array, weight: Array, bias: Array | None) -> Array:
    """A projection, ``(batch, heads, positions, columns)``."""
    x = x if module.batch_first or x.ndim == 2 else np.swapaxes(x, 0, 1)
    y = x @ weight.T if bias is None else x @ weight.T + bias
    y = np.swapaxes(y.reshape(*y.shape[:-1], module.num_heads, module.head_dim), -2, -3)
    rotary = getattr(module, "rotary", None)
    return y if rotary is None else _plain(rotary(y))


def _plain(tensor: Any) -> Array:
    """The numbers of a tensor of either framework, on the host."""
    return on_host(getattr(tensor, "array", tensor))
