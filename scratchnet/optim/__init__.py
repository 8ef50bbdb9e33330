"""Optimisers, named as in PyTorch."""

from scratchnet.optim import lr_scheduler
from scratchnet.optim.adam import Adam, AdamW, NAdam, RAdam
from scratchnet.optim.adaptive import Adadelta, Adagrad, RMSprop
from scratchnet.optim.averaging import EMA
from scratchnet.optim.lbfgs import LBFGS
from scratchnet.optim.lion import Lion
from scratchnet.optim.muon import Muon
from scratchnet.optim.optimizer import Optimizer
from scratchnet.optim.sam import SAM
from scratchnet.optim.sgd import SGD
from scratchnet.optim.shampoo import Shampoo

__all__ = [
    "EMA",
    "LBFGS",
    "SAM",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Shampoo",
    "lr_scheduler",
]
