"""Affine and bilinear layers, with derived weights too."""

from collections.abc import Callable
from typing import Any

from tests.scratchnet.blocks.contract import Case, normal

CASES = [
    Case("Linear", lambda nn: nn.Linear(4, 3), lambda batch: (normal(batch, 4),)),
    Case("Linear", lambda nn: nn.Linear(4, 3, bias=False), lambda batch: (normal(batch, 4),), "no bias"),
    Case("Linear", lambda nn: nn.Linear(4, 1), lambda batch: (normal(batch, 2, 5, 4),), "space"),
    Case("Bilinear", lambda nn: nn.Bilinear(4, 3, 2), lambda batch: (normal(batch, 4), normal(batch, 3))),
    Case(
        "Bilinear",
        lambda nn: nn.Bilinear(2, 2, 1, bias=False),
        lambda batch: (normal(batch, 5, 2), normal(batch, 5, 2, seed=1)),
        "no bias",
    ),
]
# PyTorch's fused weight normalisation fails its own gradgradcheck, except for one norm of the whole weight.
# Power iteration moves in each pass of training mode, which test_parametrizations.py follows.
RULES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("weight_norm", {}, {"hessian": "differences"}),
    ("weight_norm", {"dim": 1}, {"hessian": "differences"}),
    ("weight_norm", {"dim": None}, {}),
    ("spectral_norm", {}, {"modes": ("eval",)}),
    ("spectral_norm", {"n_power_iterations": 3, "dim": 1}, {"modes": ("eval",)}),
    ("spectral_norm", {"name": "bias", "dim": 0}, {}),
)
LAYERS: tuple[tuple[str, Callable[[Any], Any], tuple[int, ...]], ...] = (
    ("Linear", lambda nn: nn.Linear(4, 3), (4,)),
    ("Conv2d", lambda nn: nn.Conv2d(2, 3, 2), (2, 3, 3)),
    ("ConvTranspose2d", lambda nn: nn.ConvTranspose2d(2, 3, 2), (2, 2, 2)),
)


def _derived_case(
    block: str, make: Callable[[Any], Any], shape: tuple[int, ...], derive: str, arguments: Any, how: Any
) -> Case:
    return Case(
        block,
        lambda nn: getattr(nn.utils.parametrizations, derive)(make(nn), **arguments),
        lambda batch: (normal(batch, *shape),),
        f"{derive} {arguments or ''}".strip(),
        **how,
    )


CASES += [_derived_case(*layer, *rule) for layer in LAYERS for rule in RULES]
