"""Normalisation of each example over its last axes."""

from tests.scratchnet.blocks.contract import Case, normal

CASES = [
    Case("LayerNorm", lambda nn: nn.LayerNorm(4), lambda batch: (normal(batch, 4),)),
    Case("LayerNorm", lambda nn: nn.LayerNorm((3, 5)), lambda batch: (normal(batch, 2, 3, 5),), "two axes"),
    Case(
        "LayerNorm",
        lambda nn: nn.LayerNorm([2, 1, 3], eps=0.1),
        lambda batch: (normal(batch, 2, 1, 3),),
        "three axes, eps",
    ),
    Case(
        "LayerNorm",
        lambda nn: nn.LayerNorm(5, elementwise_affine=False),
        lambda batch: (normal(batch, 3, 5),),
        "not affine",
    ),
    Case("LayerNorm", lambda nn: nn.LayerNorm(5, bias=False), lambda batch: (normal(batch, 5),), "no bias"),
    Case("RMSNorm", lambda nn: nn.RMSNorm(4), lambda batch: (normal(batch, 4),)),
    Case(
        "RMSNorm",
        lambda nn: nn.RMSNorm((2, 3), eps=0.1),
        lambda batch: (normal(batch, 4, 2, 3),),
        "two axes, eps",
    ),
    Case(
        "RMSNorm",
        lambda nn: nn.RMSNorm(5, elementwise_affine=False),
        lambda batch: (normal(batch, 3, 5),),
        "not affine",
    ),
]
