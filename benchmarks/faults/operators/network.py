"""Faults of the network itself."""

from dataclasses import replace

from benchmarks.faults.operators.operator import (
    Operator,
    has_blocks,
    is_classifier,
    is_regression,
)
from benchmarks.faults.program import Program


def _saturating_depth(program: Program, extra: int) -> Program:
    depth = program.network.depth + extra
    return program.but("network", depth=depth, activations=("Sigmoid",) * depth)


def _deep(program: Program, extra: int) -> Program:
    depth = program.network.depth + extra
    network = replace(program.network, depth=depth, activations=(program.network.activations[0],) * depth)
    return replace(program, network=network).but("start", gain=0.5)


def _hidden_softmax(program: Program, share: float) -> Program:
    """The last of the hidden nonlinearities become softmaxes."""
    activations = program.network.activations
    count = max(round(share * len(activations)), 1)
    return program.but("network", activations=(*activations[:-count], *("Softmax",) * count))


def _head(program: Program, head: str) -> Program:
    return program.but("network", head=head)


def _loss_of_probabilities(program: Program, head: str) -> Program:
    return _head(program, head).but("loop", criterion="NLLLoss")


def _nonlinearity(program: Program, name: str) -> Program:
    return program.but("network", activations=(name,) * program.network.depth)


OPERATORS = (
    Operator(
        "sigmoids in depth",
        (0, 2, 5),
        _saturating_depth,
        "DeepCrime ACH; pathologies 34 and 38",
        has_blocks,
    ),
    Operator(
        "too deep for its start",
        (1, 6, 12),
        _deep,
        "DEFault: inserted layers; pathologies 17",
        lambda program: program.network.architecture in ("mlp", "recurrent"),
    ),
    Operator(
        "softmax inside", (0.1, 0.6, 1.0), _hidden_softmax, "TheDeepChecker: hidden softmax", has_blocks
    ),
    Operator(
        "no nonlinearity",
        ("LeakyReLU", "Hardtanh", ""),
        _nonlinearity,
        "DeepCrime ARM",
        has_blocks,
    ),
    Operator(
        "softmax before cross-entropy",
        ("LogSoftmax", "Sigmoid", "Softmax"),
        _head,
        "TheDeepChecker: redundant softmax",
        is_classifier,
        layers=lambda _program, _dose: ("head", "head_act"),
    ),
    Operator(
        "no logarithm before NLLLoss",
        ("LogSoftmax", "Softmax", ""),
        _loss_of_probabilities,
        "TheDeepChecker: missing softmax",
        is_classifier,
        layers=lambda _program, _dose: ("head", "head_act"),
    ),
    Operator(
        "bounded head for a regression",
        ("Hardtanh", "Sigmoid", "ReLU"),
        _head,
        "DeepFD: last activation swapped",
        is_regression,
        layers=lambda _program, _dose: ("head", "head_act"),
    ),
    Operator(
        "bottleneck",
        (8, 2, 1),
        lambda program, width: program.but("network", bottleneck=width),
        "DEFault: units",
        has_blocks,
        layers=lambda program, _dose: tuple(
            f"{part}{(program.network.depth + 1) // 2}" for part in ("hidden", "act")
        ),
    ),
    Operator(
        "too much dropout",
        (0.1, 0.6, 0.95),
        lambda program, rate: program.but("network", dropout=rate),
        "DeepCrime RCD",
    ),
)
