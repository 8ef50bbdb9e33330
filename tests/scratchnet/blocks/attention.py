"""Attention with several heads."""

from typing import Any

import numpy as np

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, normal

CAUSAL = np.triu(np.ones((5, 5), bool), k=1)
# No example hides the last position, which every query sees where earlier ones are hidden from it.
PADDING = np.array([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], bool)


def heads_hidden(batch: int) -> Array:
    """For each head of each example; the first key is seen by all."""
    hidden = np.random.default_rng(0).random((2 * batch, 5, 5)) < 0.4
    hidden[..., 0] = False
    return hidden


def self_attention(block: Any, x: Any, **options: Any) -> Any:
    return block(x, x, x, **options)


CASES = [
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(6, 2),
        lambda batch: (normal(5, batch, 6),),
        call=self_attention,
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(6, 3, batch_first=True),
        lambda batch: (normal(batch, 5, 6),),
        "batch first, no weights",
        call=lambda block, x: self_attention(block, x, need_weights=False),
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(6, 2, bias=False, batch_first=True),
        lambda batch: (normal(batch, 5, 6),),
        "weights of each head, no bias",
        call=lambda block, x: self_attention(block, x, average_attn_weights=False),
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(6, 2),
        lambda batch: (normal(5, batch, 6),),
        "batch second, no weights",
        call=lambda block, x: self_attention(block, x, need_weights=False),
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(4, 1, batch_first=True),
        lambda batch: (normal(batch, 2, 4), normal(batch, 3, 4), normal(batch, 3, 4, seed=1)),
        "other keys and values",
        call=lambda block, *inputs: block(*inputs, need_weights=False),
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        lambda batch: (normal(2, batch, 4), normal(3, batch, 3), normal(3, batch, 5)),
        "kdim and vdim",
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(4, 2, bias=False, kdim=4, vdim=5, batch_first=True),
        lambda batch: (normal(batch, 2, 4), normal(batch, 3, 4), normal(batch, 3, 5)),
        "vdim alone, no bias, no weights",
        call=lambda block, *inputs: block(*inputs, need_weights=False),
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(4, 2),
        lambda batch: (normal(3, 4),),
        "one sequence without a batch",
        call=self_attention,
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(6, 2, batch_first=True),
        lambda batch: (normal(batch, 5, 6), CAUSAL),
        "causal",
        call=lambda block, x, mask: self_attention(block, x, attn_mask=mask, is_causal=True),
    ),
    *(
        Case(
            "MultiheadAttention",
            lambda nn: nn.MultiheadAttention(6, 2, batch_first=True),
            lambda batch: (normal(batch, 5, 6), CAUSAL.T, PADDING[:batch]),
            f"hidden keys, need_weights={need_weights}",
            call=lambda block, x, mask, padding, need_weights=need_weights: self_attention(
                block, x, attn_mask=mask, key_padding_mask=padding, need_weights=need_weights
            ),
        )
        for need_weights in (True, False)
    ),
    Case(
        "MultiheadAttention",
        lambda nn: nn.MultiheadAttention(6, 2, batch_first=True),
        lambda batch: (normal(batch, 5, 6), heads_hidden(batch)),
        "hidden keys of each head",
        call=lambda block, x, mask: self_attention(block, x, attn_mask=mask, need_weights=False),
    ),
    *(
        Case(
            "MultiheadAttention",
            lambda nn: nn.MultiheadAttention(6, 2, batch_first=True),
            lambda batch: (normal(batch, 5, 6), normal(5, 5), normal(batch, 5)),
            f"masks of floats, need_weights={need_weights}",
            call=lambda block, x, mask, padding, need_weights=need_weights: self_attention(
                block, x, attn_mask=mask, key_padding_mask=padding, need_weights=need_weights
            ),
        )
        for need_weights in (True, False)
    ),
]
