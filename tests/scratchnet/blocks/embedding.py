"""Vectors for numbers, and encodings of positions."""

from typing import Any

import numpy as np

from tests.scratchnet.blocks.contract import Case, integers, normal


def torch_rotary(nn: Any, dim: int, base: float) -> Any:
    """Pairs of columns as complex numbers, times e^(ipθ)."""
    import torch

    class Rotary(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            pairs = torch.complex(*x.chunk(2, dim=-1))
            frequencies = base ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / dim)
            angles = torch.arange(x.shape[-2])[:, None] * frequencies
            turned = pairs * torch.exp(1j * angles)
            return torch.cat([turned.real, turned.imag], dim=-1)

    return Rotary()


def torch_sinusoidal(nn: Any, dim: int, base: float, batch_first: bool) -> Any:
    import torch

    class Sinusoidal(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            length = x.shape[1 if batch_first else 0]
            rows = [
                [
                    np.sin(p / base ** (c / dim)) if c % 2 == 0 else np.cos(p / base ** ((c - 1) / dim))
                    for c in range(dim)
                ]
                for p in range(length)
            ]
            table = torch.tensor(rows, dtype=x.dtype)
            return x + (table if batch_first else table[:, None])

    return Sinusoidal()


CASES = [
    Case("Embedding", lambda nn: nn.Embedding(7, 3), lambda batch: (integers(7, batch, 4),)),
    Case("Embedding", lambda nn: nn.Embedding(5, 1), lambda batch: (integers(5, batch),), "one column"),
    Case(
        "Embedding",
        lambda nn: nn.Embedding(3, 2, padding_idx=-2),
        lambda batch: (integers(3, batch, 4),),
        "padding",
        # What is called the gradient is not that of the output: differences would find the padding row's.
        hessian="none",
    ),
    Case(
        "RotaryEmbedding",
        lambda nn: nn.RotaryEmbedding(4),
        lambda batch: (normal(batch, 3, 4),),
        twin=lambda nn: torch_rotary(nn, 4, 10000.0),
    ),
    Case(
        "RotaryEmbedding",
        lambda nn: nn.RotaryEmbedding(6, base=10.0),
        lambda batch: (normal(batch, 2, 5, 6),),
        "heads, base",
        twin=lambda nn: torch_rotary(nn, 6, 10.0),
    ),
    Case(
        "SinusoidalEncoding",
        lambda nn: nn.SinusoidalEncoding(5),
        lambda batch: (normal(batch, 4, 5),),
        "odd size",
        twin=lambda nn: torch_sinusoidal(nn, 5, 10000.0, True),
    ),
    Case(
        "SinusoidalEncoding",
        lambda nn: nn.SinusoidalEncoding(4, base=20.0, batch_first=False),
        lambda batch: (normal(3, batch, 4),),
        "batch second",
        twin=lambda nn: torch_sinusoidal(nn, 4, 20.0, False),
    ),
]
