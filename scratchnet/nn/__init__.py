"""Modules: layers, containers and losses, named as in PyTorch."""

from scratchnet.nn import functional, init
from scratchnet.nn.activation import ReLU, Sigmoid, Tanh
from scratchnet.nn.container import Sequential
from scratchnet.nn.linear import Linear
from scratchnet.nn.loss import CrossEntropyLoss, MSELoss
from scratchnet.nn.module import Module, Parameter

__all__ = [
    "CrossEntropyLoss",
    "Linear",
    "MSELoss",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "functional",
    "init",
]
