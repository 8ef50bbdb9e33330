"""Exact products with the Hessian of a PyTorch model, which leave no trace in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

Product = Callable[[torch.Tensor], torch.Tensor]


def gradients(
    model: nn.Module, parameters: Sequence[nn.Parameter], closure: Callable[[], torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Gradient of a closure's loss by each parameter; none of them keeps it."""
    with undisturbed(model), torch.compiler.set_stance("force_eager"), torch.enable_grad():
        return torch.autograd.grad(closure(), parameters, materialize_grads=True)


def make_hvp(
    model: nn.Module, parameters: Sequence[nn.Parameter], closure: Callable[[], torch.Tensor]
) -> tuple[Product, int, torch.Tensor]:
    """A Hessian-vector product on flat vectors, its dimension, and an array like the vectors.

    The loss and its gradient are computed once, and their graph is kept, so that each product costs one
    more backward pass through both. Compiled code runs uncompiled and attention in its plain form, for
    their compiled and fused backward passes have no derivative.
    """
    with undisturbed(model), _twice_differentiable(), torch.enable_grad():
        loss = closure()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    sizes = [parameter.numel() for parameter in parameters]
    # A gradient that is constant, as of a parameter without influence, has rows of zeros.
    varying = [index for index, gradient in enumerate(gradients) if gradient.requires_grad]

    def product(vector: torch.Tensor) -> torch.Tensor:
        parts = [
            part.reshape(parameter.shape).to(parameter.dtype)
            for part, parameter in zip(torch.split(vector, sizes), parameters, strict=True)
        ]
        if not varying:
            return torch.zeros_like(vector)
        columns = torch.autograd.grad(
            [gradients[index] for index in varying],
            parameters,
            [parts[index] for index in varying],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([column.reshape(-1) for column in columns])

    like = torch.cat([parameter.detach().reshape(-1)[:1] for parameter in parameters])
    return product, sum(sizes), like


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    with (
        torch.compiler.set_stance("force_eager"),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
    ):
        yield


@contextmanager
def alone(model: nn.Module) -> Iterator[None]:
    """A distributed model runs without a word to the other ranks, which may not be looking now."""
    if not isinstance(model, DistributedDataParallel):
        yield
        return
    # Whether the next forward pass takes over buffers from the first rank; each pass decides it for the next.
    was_to_take_over, model.require_forward_param_sync = model.require_forward_param_sync, False
    try:
        with model.no_sync():
            yield
    finally:
        model.require_forward_param_sync = was_to_take_over


@contextmanager
def undisturbed(model: nn.Module, *, in_evaluation: bool = True) -> Iterator[None]:
    """Evaluation mode, or the modes as they are; afterwards modes, buffers and random state are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    places = sorted({p.device for p in model.parameters() if p.device.type == "cuda"}, key=str)
    with torch.random.fork_rng(places):
        if in_evaluation:
            model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for module, name, buffer, kept in buffers:
                # A module may have put another tensor in its place.
                module._buffers[name] = buffer
                # Batch normalisation writes into its buffers without counting it as a version, and so may we:
                # a graph that is still to be differentiated finds what it saved.
                buffer.data.copy_(kept)
