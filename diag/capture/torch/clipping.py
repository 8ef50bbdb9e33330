"""What gradients were before they were clipped, which is known only once they have been."""

from collections.abc import Iterable

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from diag.capture.contract import MissedPasses, Tell
from diag.capture.torch.passes import BackwardPasses
from diag.capture.torch.tensors import shards_of


class Clipping:
    """Keeps the norms of gradients until it shows whether they were changed after the backward pass.

    Of each gradient its norm alone is kept, on its device; where the first step shows that nothing is changed
    not even that, until something is. No number is read.

    Args:
        model: As it is watched, in whatever distributes it.
        passes: Of the pair that is watched.
        tell: As `diag.capture.contract` describes it.
        name: The watched pair's.
    """

    def __init__(self, model: nn.Module, passes: BackwardPasses, tell: Tell, name: str) -> None:
        self._why_hidden = _why_hidden(model)
        self._passes = passes
        self._tell = tell
        self._missed = MissedPasses(tell, name)
        self._subject = f"{name}.gradient_norm_before_clipping".lstrip(".")
        # None until a step has shown it.
        self._is_clipped: bool | None = None
        self._is_hidden = False
        self._norms: list[torch.Tensor] = []

    @property
    def is_awaited(self) -> bool:
        """Whether gradients may yet be clipped, so that `keep` is to be called at the end of a pass."""
        return self._is_clipped is not False and not self._is_hidden

    def keep(self, gradients: Iterable[torch.Tensor]) -> None:
        """Keeps the norms of what a pass left."""
        self._norms = [_norm(gradient) for gradient in gradients]

    def norms(self, count: int) -> torch.Tensor | None:
        """The norms before clipping of gradients that the optimiser is about to get, unscaled.

        Args:
            count: How many gradients there are by now.

        Returns:
            One for each gradient; None if they were not clipped, or nothing was kept.
        """
        norms, self._norms = self._norms, []
        self._notice(is_whole=not norms or len(norms) == count)
        if not norms or not self._is_clipped:
            return None
        scale = self._passes.scale
        return torch.stack(norms) if scale is None else torch.stack(norms) / scale

    def _notice(self, is_whole: bool) -> None:
        passes = self._passes
        if self._is_hidden:
            return
        self._missed.note(has_passed=passes.count > 0)
        if not passes.count:
            return
        why = self._why_hidden
        if not is_whole:
            why = (
                "nobody says when all gradients are there: a reentrant checkpoint runs a backward pass of its own; "
                "pass use_reentrant=False"
            )
        if why:
            self._is_hidden = True
            self._tell("unseen", self._subject, why)
        else:
            self._is_clipped = bool(self._is_clipped) or passes.has_changed


def _why_hidden(model: nn.Module) -> str:
    is_together = distributed.is_available() and distributed.is_initialized()
    if not is_together or distributed.get_world_size() == 1:
        return ""
    if any(shards_of(parameter) > 1 for parameter in model.parameters()):
        return "parameters are spread over the ranks, and no rank knows how their gradients are clipped"
    if any(isinstance(module, DistributedDataParallel) for module in model.modules()):
        return ""
    return (
        "gradients are changed after the backward pass by being averaged over the ranks, as well as by clipping; "
        "watch the model in its DistributedDataParallel, which says when they are averaged"
    )


def _norm(tensor: torch.Tensor) -> torch.Tensor:
    # In float32 the norm of ten million entries is 1 % off; Apple's accelerator has nothing wider.
    dtype = torch.float32 if tensor.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(tensor, dtype=dtype)
