"""A neural-network library written from scratch on NumPy, with listeners on all that it does.

From outside it looks like PyTorch, so that each piece can be checked against its twin:

    import scratchnet as sn
    from scratchnet import nn, optim
"""

from scratchnet import data, nn, optim
from scratchnet.backward import grad
from scratchnet.derivatives import (
    check_gradients,
    forward_hvp,
    ggn_vp,
    hessian,
    hvp,
    jacobian,
    jvp,
    make_ggn_vp,
    make_hvp,
    per_example_gradients,
    vjp,
)
from scratchnet.heap import keep_freed_memory
from scratchnet.joining import cat, stack
from scratchnet.serialization import load, load_metadata, save
from scratchnet.summary import summary
from scratchnet.tape import is_recording, no_grad
from scratchnet.tensor import Tensor

keep_freed_memory()

__all__ = [
    "Tensor",
    "cat",
    "check_gradients",
    "data",
    "forward_hvp",
    "ggn_vp",
    "grad",
    "hessian",
    "hvp",
    "is_recording",
    "jacobian",
    "jvp",
    "load",
    "load_metadata",
    "make_ggn_vp",
    "make_hvp",
    "nn",
    "no_grad",
    "optim",
    "per_example_gradients",
    "save",
    "stack",
    "summary",
    "vjp",
]
