"""A pass of a PyTorch model on a batch of its own: what each layer makes of it, and no trace of it afterwards."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from diag.capture.contract import Closure, Overhear
from diag.capture.torch.curvature import undisturbed
from diag.capture.torch.tensors import first_tensor, lent


def overhear(
    model: nn.Module,
    watched: Iterable[tuple[str, nn.Module]],
    closure: Closure,
    hear: Overhear,
    *,
    in_evaluation: bool,
) -> torch.Tensor:
    """Runs a closure without a tape, compiled code uncompiled, and tells what these modules make of it.

    Returns:
        The loss.
    """
    was_fast = torch.backends.mha.get_fastpath_enabled()
    handles = [module.register_forward_hook(_ear(name, hear)) for name, module in watched]
    # The fused path of a transformer would run past its layers.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            undisturbed(model, in_evaluation=in_evaluation),
            torch.compiler.set_stance("force_eager"),
            torch.no_grad(),
        ):
            return lent(closure())
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
        for handle in handles:
            handle.remove()


def _ear(name: str, hear: Overhear) -> Callable[..., None]:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        spoken = first_tensor(output)
        if spoken is not None:
            tensors = (each if isinstance(each, torch.Tensor) else first_tensor(each) for each in inputs)
            hear(name, tuple(lent(each) for each in tensors if each is not None), lent(spoken))

    return hook
