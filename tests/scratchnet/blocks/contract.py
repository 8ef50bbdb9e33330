"""What a block of the library is checked against: one table entry, written once for both libraries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scratchnet.tape import Array


@dataclass(frozen=True)
class Case:
    """One block with some arguments, on some inputs.

    Attributes:
        block: Name of the class in `scratchnet.nn` that the case covers.
        make: Builds it: called with `scratchnet.nn` and with `torch.nn`, so one line says it for both.
        inputs: Called with the batch size, gives the arrays, the same on every call; floats get a gradient.
        name: What is special about the case.
        call: How the block is called, if not with the inputs one by one. It may return a tensor or a tuple.
            Its first argument is the block, the others are tensors of the library (integers too).
        twin: Builds PyTorch's side where `make` cannot.
        modes: In which modes it is compared.
        hessian: What Hessian-vector products are compared with; ``"differences"`` where PyTorch has none,
            ``"none"`` where second derivatives are zero or infinite everywhere.
        batches: Batch sizes, beside the usual three examples, at which the block must do what PyTorch does.
    """

    block: str
    make: Callable[[Any], Any]
    inputs: Callable[[int], tuple[Array, ...]]
    name: str = ""
    call: Callable[..., Any] = lambda block, *inputs: block(*inputs)
    twin: Callable[[Any], Any] | None = None
    modes: tuple[Literal["train", "eval"], ...] = ("train", "eval")
    hessian: Literal["torch", "differences", "none"] = "torch"
    batches: tuple[int, ...] = (1, 0)

    @property
    def id(self) -> str:
        """How the case is called in a report."""
        return f"{self.block}-{self.name}" if self.name else self.block


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers, the same for the same arguments."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> Array:
    """Numbers in [0.5, 2)."""
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2.0, shape)


def off_the_kink(*shape: int, seed: int = 0) -> Array:
    """Numbers of both signs, none near zero."""
    rng = np.random.default_rng([seed, *shape])
    return rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(*shape: int, seed: int = 0) -> Array:
    """Numbers no two of which are near each other: a maximum of them does not change hands."""
    size = int(np.prod(shape))
    return np.random.default_rng([seed, *shape]).permutation(size).reshape(shape) / 4 - size / 8


def integers(high: int, *shape: int, seed: int = 0) -> Array:
    """Whole numbers in [0, high), int64."""
    return np.random.default_rng([seed, *shape]).integers(0, high, shape)
