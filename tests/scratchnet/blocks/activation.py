"""Nonlinearities."""

from typing import Any

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, normal, off_the_kink


def _wide(batch: int) -> tuple[Array]:
    """Into the tails, on both sides."""
    return (normal(batch, 5, 4) * 4,)


def _beside_the_kinks(batch: int) -> tuple[Array]:
    """Off whole numbers, and far enough to both sides for every piece to be seen."""
    return (off_the_kink(batch, 5, 4) * 1.9 + off_the_kink(batch, 5, 4, seed=1) * 1.7 + 0.01,)


def _image(batch: int) -> tuple[Array]:
    return (off_the_kink(batch, 4, 3, 2),)


def _hardsigmoid(nn: Any) -> Any:
    """PyTorch's own multiplies the gradient by 1/6 in single precision, and has no second derivative."""

    class Block(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return nn.functional.hardtanh(x / 6 + 0.5, 0.0, 1.0)

    return Block()


def _gated(nn: Any, bias: bool) -> Any:
    """PyTorch has the parts of a SwiGLU, but not the block."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gate_proj = nn.Linear(4, 6, bias=bias)
            self.up_proj = nn.Linear(4, 6, bias=bias)
            self.down_proj = nn.Linear(6, 3 if bias else 4, bias=bias)

        def forward(self, x: Any) -> Any:
            gate = self.gate_proj(x)
            return self.down_proj(gate * gate.sigmoid() * self.up_proj(x))

    return Block()


SMOOTH = [
    Case("GELU", lambda nn: nn.GELU(), _wide),
    Case("GELU", lambda nn: nn.GELU(approximate="tanh"), _wide, "tanh"),
    Case("SiLU", lambda nn: nn.SiLU(), _wide),
    Case("Mish", lambda nn: nn.Mish(), _wide),
    Case("Softplus", lambda nn: nn.Softplus(), lambda batch: (normal(batch, 5, 4) * 15,)),
    Case("Softplus", lambda nn: nn.Softplus(beta=2.5, threshold=3), _wide, "beta"),
    Case("Softsign", lambda nn: nn.Softsign(), _image),
    Case("Tanh", lambda nn: nn.Tanh(), _wide),
    Case("Sigmoid", lambda nn: nn.Sigmoid(), _wide),
    Case("LogSigmoid", lambda nn: nn.LogSigmoid(), _wide),
    Case("ELU", lambda nn: nn.ELU(), _beside_the_kinks),
    Case("ELU", lambda nn: nn.ELU(alpha=0.3), _beside_the_kinks, "alpha"),
    Case("SELU", lambda nn: nn.SELU(), _beside_the_kinks),
    Case("CELU", lambda nn: nn.CELU(), _beside_the_kinks),
    Case("CELU", lambda nn: nn.CELU(alpha=2.0), _beside_the_kinks, "alpha"),
]
IN_PIECES = [
    Case("Identity", lambda nn: nn.Identity(), _wide),
    Case("ReLU", lambda nn: nn.ReLU(), _beside_the_kinks),
    Case("ReLU6", lambda nn: nn.ReLU6(), lambda batch: (_beside_the_kinks(batch)[0] * 3,)),
    Case("LeakyReLU", lambda nn: nn.LeakyReLU(), _beside_the_kinks),
    Case("LeakyReLU", lambda nn: nn.LeakyReLU(1.5), _beside_the_kinks, "steeper on the left"),
    Case("LeakyReLU", lambda nn: nn.LeakyReLU(-0.5), _beside_the_kinks, "falling on the left"),
    Case("PReLU", lambda nn: nn.PReLU(), _beside_the_kinks),
    Case("PReLU", lambda nn: nn.PReLU(4, init=-0.3), _image, "channels"),
    Case("PReLU", lambda nn: nn.PReLU(4), lambda batch: (off_the_kink(batch, 4),), "features"),
    Case("Hardtanh", lambda nn: nn.Hardtanh(), _beside_the_kinks),
    Case("Hardtanh", lambda nn: nn.Hardtanh(-2.0, 0.5), _beside_the_kinks, "bounds"),
    Case("Hardsigmoid", lambda nn: nn.Hardsigmoid(), _beside_the_kinks, twin=_hardsigmoid),
    Case("Hardswish", lambda nn: nn.Hardswish(), _beside_the_kinks),
]


def _along(name: str, dim: int) -> Case:
    return Case(name, lambda nn: getattr(nn, name)(dim=dim), _wide, f"dim={dim}")


ALONG_AN_AXIS = [
    *(_along(name, dim) for name in ("Softmax", "LogSoftmax", "Softmin") for dim in (1, -1)),
    Case("GLU", lambda nn: nn.GLU(), _wide),
    Case("GLU", lambda nn: nn.GLU(dim=1), _image, "dim=1"),
]
GATED = [
    Case(
        "SwiGLU",
        lambda nn: nn.SwiGLU(4, 6),
        lambda batch: (normal(batch, 4),),
        twin=lambda nn: _gated(nn, bias=False),
    ),
    Case(
        "SwiGLU",
        lambda nn: nn.SwiGLU(4, 6, 3, bias=True),
        lambda batch: (normal(batch, 2, 4),),
        "other size",
        twin=lambda nn: _gated(nn, bias=True),
    ),
]

CASES = SMOOTH + IN_PIECES + ALONG_AN_AXIS + GATED
