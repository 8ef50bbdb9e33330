"""Layers of the transformer, and their stacks."""

from typing import Any

import numpy as np

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, normal

LATER = np.triu(np.ones((3, 3), bool), k=1)
# The second example hides its first position, the third its second: every query still sees its own key
# or a later one.
PADDING = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], bool)


def sequences(batch: int) -> tuple[Array, ...]:
    return (normal(batch, 3, 4),)


def sequences_and_memory(batch: int) -> tuple[Array, ...]:
    return (normal(batch, 3, 4), normal(batch, 2, 4))


def encoder_layer(nn: Any, **options: Any) -> Any:
    return nn.TransformerEncoderLayer(4, 2, 5, 0.0, batch_first=True, **options)


def decoder_layer(nn: Any, **options: Any) -> Any:
    return nn.TransformerDecoderLayer(4, 2, 5, 0.0, batch_first=True, **options)


CASES = [
    Case("TransformerEncoderLayer", encoder_layer, sequences),
    Case("TransformerEncoderLayer", lambda nn: encoder_layer(nn, norm_first=True), sequences, "norm first"),
    Case(
        "TransformerEncoderLayer",
        lambda nn: encoder_layer(nn, activation="gelu", layer_norm_eps=0.1, bias=False),
        sequences,
        "gelu, no bias",
    ),
    Case(
        "TransformerEncoderLayer",
        lambda nn: nn.TransformerEncoderLayer(4, 2, 5, 0.0, activation=nn.Tanh()),
        lambda batch: (normal(3, batch, 4),),
        "batch second, a function",
    ),
    Case(
        "TransformerEncoderLayer",
        lambda nn: encoder_layer(nn, activation="gelu"),
        lambda batch: (normal(batch, 3, 4), LATER.T, PADDING[:batch]),
        "masks",
    ),
    Case(
        "TransformerEncoderLayer",
        encoder_layer,
        lambda batch: (normal(batch, 3, 4), LATER),
        "causal",
        call=lambda block, x, mask: block(x, mask, is_causal=True),
    ),
    Case("TransformerDecoderLayer", decoder_layer, sequences_and_memory),
    Case(
        "TransformerDecoderLayer",
        lambda nn: decoder_layer(nn, norm_first=True, activation="gelu", bias=False),
        sequences_and_memory,
        "norm first, gelu, no bias",
    ),
    Case(
        "TransformerDecoderLayer",
        lambda nn: nn.TransformerDecoderLayer(4, 2, 5, 0.0),
        lambda batch: (normal(3, batch, 4), normal(2, batch, 4), LATER, normal(3, 2), normal(batch, 2)),
        "batch second, masks",
        call=lambda block, x, memory, mask, scores, padding: block(
            x, memory, mask, scores, memory_key_padding_mask=padding, tgt_is_causal=True
        ),
    ),
    Case(
        "TransformerEncoder",
        lambda nn: nn.TransformerEncoder(encoder_layer(nn), 2, enable_nested_tensor=False),
        sequences,
    ),
    Case(
        "TransformerEncoder",
        lambda nn: nn.TransformerEncoder(
            encoder_layer(nn, norm_first=True), 1, nn.LayerNorm(4), enable_nested_tensor=False
        ),
        lambda batch: (normal(batch, 3, 4), LATER),
        "norm, causal",
        call=lambda block, x, mask: block(x, mask, is_causal=True),
    ),
    Case(
        "TransformerDecoder",
        lambda nn: nn.TransformerDecoder(decoder_layer(nn), 2, nn.LayerNorm(4)),
        sequences_and_memory,
    ),
    Case(
        "Transformer",
        lambda nn: nn.Transformer(4, 2, 1, 1, 5, 0.0, batch_first=True),
        lambda batch: (normal(batch, 2, 4), normal(batch, 3, 4), LATER),
        call=lambda block, source, target, mask: block(source, target, tgt_mask=mask),
    ),
]
