"""Every schedule in one table, with the arguments that matter."""

import math
from typing import Any

from tests.scratchnet.schedules.contract import Case, case


def sequence(s: Any, o: Any) -> Any:
    parts = [s.LinearLR(o, 0.1, total_iters=20), s.CosineAnnealingLR(o, 100), s.ExponentialLR(o, 0.97)]
    return s.SequentialLR(o, parts, milestones=[20, 120])


def sequence_of_cycles(s: Any, o: Any) -> Any:
    parts = [s.ConstantLR(o, 0.2, 10), s.CosineAnnealingWarmRestarts(o, 15, 2, 1e-3), s.StepLR(o, 7)]
    return s.SequentialLR(o, parts, milestones=[10, 150])


def chain(s: Any, o: Any) -> Any:
    return s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.99), s.StepLR(o, 30, 0.5)])


def chain_to_a_floor(s: Any, o: Any) -> Any:
    return s.ChainedScheduler([s.LinearLR(o, 0.1, 1.0, 50), s.CosineAnnealingLR(o, 300, eta_min=1e-3)], o)


def written_over(s: Any, o: Any) -> Any:
    return s.ChainedScheduler([s.ExponentialLR(o, 0.9), s.LambdaLR(o, lambda step: 1 / (1 + step))])


CASES = [
    case("LambdaLR", lambda step: 0.95**step),
    case("LambdaLR", [lambda step: 1 / (1 + step), lambda step: step % 7], note="one a group"),
    case("StepLR", 30),
    case("StepLR", 7, gamma=0.8, note="short stairs"),
    case("MultiStepLR", [1, 30, 31, 150], gamma=0.5),
    case("ConstantLR"),
    case("ConstantLR", 0.7, total_iters=150, note="long"),
    case("LinearLR"),
    case("LinearLR", 1e-3, 0.8, total_iters=77, note="long"),
    case("LinearLR", 1.0, 0.0, total_iters=150, note="down to zero"),
    case("ExponentialLR", 0.98),
    case("PolynomialLR"),
    case("PolynomialLR", 180, power=2.5, note="curved"),
    case("CosineAnnealingLR", 200, eta_min=1e-4),
    case("CosineAnnealingLR", 37, note="several waves"),
    case("CosineAnnealingLR", 50, eta_min=0.05, note="floor between the rates"),
    case("CosineAnnealingWarmRestarts", 13),
    case("CosineAnnealingWarmRestarts", 10, 2, eta_min=1e-3, note="growing rounds"),
    case("CosineAnnealingWarmRestarts", 9, 3, note="powers of three"),
    case("CyclicLR", 0.001, 0.1, step_size_up=20),
    case("CyclicLR", 0.0, [0.1, 0.5], 13, 31, mode="triangular2", note="halved"),
    case("CyclicLR", 0.01, 0.1, 20, mode="exp_range", gamma=0.99, note="exponential"),
    case("CyclicLR", [0.01, 0.02], 0.1, 20, scale_fn=lambda cycle: 1 / cycle**2, note="own scale"),
    case("CyclicLR", 0.01, 0.1, 9, scale_fn=math.cos, scale_mode="iterations", note="own scale by step"),
    case("CyclicLR", 0.01, 0.1, 20, base_momentum=0.7, max_momentum=0.95, optimizer="Adam", note="Adam"),
    case("CyclicLR", 0.01, 0.1, 20, cycle_momentum=False, note="momentum left alone"),
    case("OneCycleLR", 0.5, total_steps=200),
    case("OneCycleLR", [0.5, 0.1], epochs=10, steps_per_epoch=20, optimizer="Adam", note="Adam"),
    case("OneCycleLR", 0.5, 211, pct_start=0.4, anneal_strategy="linear", note="linear"),
    case("OneCycleLR", 0.5, 200, three_phase=True, note="three phases"),
    case("OneCycleLR", 0.5, 203, pct_start=0.5, three_phase=True, div_factor=3.0, note="two halves"),
    case("OneCycleLR", 0.5, 200, pct_start=0.0, cycle_momentum=False, note="no rise, no momentum"),
    case("OneCycleLR", 0.5, 200, base_momentum=[0.5, 0.6], max_momentum=0.99, note="momenta"),
    case("ReduceLROnPlateau", patience=5),
    case("ReduceLROnPlateau", "max", factor=0.7, patience=1, threshold_mode="abs", note="max, abs"),
    case("ReduceLROnPlateau", threshold=0.05, threshold_mode="abs", patience=2, note="min, abs"),
    case("ReduceLROnPlateau", "max", 0.5, 3, 0.01, cooldown=7, min_lr=[0.01, 0.02], note="cooldown, bounds"),
    case("ReduceLROnPlateau", patience=0, factor=0.5, eps=1e-3, min_lr=1e-5, note="no patience, eps"),
    Case("SequentialLR", "SequentialLR", sequence),
    Case("SequentialLR, cycles", "SequentialLR", sequence_of_cycles),
    Case("ChainedScheduler", "ChainedScheduler", chain),
    Case("ChainedScheduler, floor", "ChainedScheduler", chain_to_a_floor),
    Case("ChainedScheduler, written over", "ChainedScheduler", written_over),
]
