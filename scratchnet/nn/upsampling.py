"""Layers that resize space without parameters."""

from collections.abc import Sequence
from typing import Any

from scratchnet.nn import functional as F
from scratchnet.nn.module import Module
from scratchnet.tensor import Tensor


class Upsample(Module):
    """Resizes space: each new element is the nearest old one, or lies on the line between two.

    Args:
        size: New size, one number or one an axis; or else
        scale_factor: How much larger, one number or one an axis.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"linear"`` (sequences) or ``"bilinear"`` (images).
        align_corners: True puts the outermost elements onto the outermost; for lines only.

    See `scratchnet.nn.functional.interpolate` for the formula, shapes and errors.

    Example:
        >>> Upsample(scale_factor=2, mode="linear")(np.array([[[0.0, 1.0]]])).numpy()
        array([[[0.  , 0.25, 0.75, 1.  ]]])
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        given = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{given}, mode={self.mode!r}"
