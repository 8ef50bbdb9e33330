"""A neural-network library written from scratch on NumPy, with listeners on all that it does.

From outside it looks like PyTorch, so that each piece can be checked against its twin:

    import scratchnet as sn
    from scratchnet import nn, optim
"""

from scratchnet import data, nn, optim
from scratchnet.backward import grad
from scratchnet.derivatives import check_gradients, hvp, make_hvp
from scratchnet.tape import is_recording, no_grad
from scratchnet.tensor import Tensor

__all__ = [
    "Tensor",
    "check_gradients",
    "data",
    "grad",
    "hvp",
    "is_recording",
    "make_hvp",
    "nn",
    "no_grad",
    "optim",
]
