"""Connectionist temporal classification as a module."""

from typing import Any

from scratchnet.nn import functional as F
from scratchnet.nn.functional.reduction import Reduction
from scratchnet.nn.module import Module
from scratchnet.tensor import Tensor


class CTCLoss(Module):
    """Connectionist temporal classification: −ln of the probability of all paths that read as the text.

    Args:
        blank: The class that stands for no label.
        reduction: ``"mean"`` (each loss over the number of its labels, then over the batch), ``"sum"`` or ``"none"``.
        zero_infinity: Counts an example whose text no path can read as zero; it is infinite otherwise.

    See `scratchnet.nn.functional.ctc_loss` for shapes, gradient and errors.
    """

    def __init__(self, blank: int = 0, reduction: Reduction = "mean", zero_infinity: bool = False) -> None:
        super().__init__()
        self.blank = blank
        self.reduction = reduction
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        """See the class."""
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
        )
