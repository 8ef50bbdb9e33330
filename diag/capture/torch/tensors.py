"""Which tensor a module speaks with, and how it is lent."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first tensor in a module's output or inputs, which is what the module says.

    A recurrent or an attention layer gives its state or its weights beside its output; others speak in
    dictionaries and dataclasses.
    """
    if isinstance(value, torch.Tensor):
        return value
    return next((found for part in _parts(value) if (found := first_tensor(part)) is not None), None)


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is torch's own, and none that is spread over ranks or stands for something else."""
    return type(tensor) in _PLAIN


def on_this_rank(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor spread over ranks that lies here; of any other tensor all of it.

    Whatever else is computed of such a tensor may wait for the other ranks, and one of them may be gone.
    """
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()


def shards_of(tensor: Any) -> int:
    """Over how many ranks the tensor's entries are spread; 1 where each holds all of them."""
    placements = enumerate(getattr(tensor, "placements", ()))
    return math.prod(tensor.device_mesh.size(dim) for dim, each in placements if each.is_shard())


def lent(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's numbers without its tape: what lies on this rank, and of a sparse one the rows that it has."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    # Asked for what it lacks, a tensor takes longer to answer than all else that is done to it here.
    if type(tensor) not in _PLAIN:
        tensor = on_this_rank(tensor)
    if tensor.is_sparse:
        # Coalesced, for rows that occur twice add up to one gradient.
        tensor = tensor.coalesce().values()
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, tuple | list):
        return value
    if is_dataclass(value):
        return (getattr(value, field.name) for field in fields(value))
    return ()
