"""Healthy runs: programs drawn over what practitioners vary, kept if they come to a sensible end.

Sensible is what a practitioner would call so: in the end a classifier has covered at least half of the way
from a guess to perfection on the validation set, a regression explains at least a quarter of the variance,
and neither has lost more than a tenth of the best that it had. What is drawn and does not meet this is
rejected, and counted.
"""

from dataclasses import replace

import numpy as np

from benchmarks.faults.families import FAMILIES, FRAMEWORKS, HALVES, SEEDS, Half
from benchmarks.faults.program import Descent, Network, Program
from benchmarks.faults.training import Result

LEAST_SKILL = {True: 0.5, False: 0.25}
MOST_LOST = 0.1

# Kind, least and largest learning rate, and further arguments.
OPTIMIZERS = (
    Descent("SGD", 0.05),
    Descent("SGD", 0.02, (("momentum", 0.9),)),
    Descent("SGD", 0.02, (("momentum", 0.9), ("nesterov", True), ("weight_decay", 1e-4))),
    Descent("Adam", 3e-3),
    Descent("AdamW", 3e-3, (("weight_decay", 0.05),)),
    Descent("Lion", 6e-4, (("weight_decay", 0.05),)),
    Descent("Muon", 1e-2, (("weight_decay", 0.0),)),
)
SCHEDULES = ("constant", "constant", "cosine", "steps", "warm-up", "warm-up and cosine", "one cycle")


def is_healthy(program: Program, result: Result) -> bool:
    """Whether a run has come to a sensible end."""
    least = LEAST_SKILL[program.is_classifier]
    return result.skill >= least and result.skill >= (1 - MOST_LOST) * result.best_skill


def draw(half: Half, index: int, attempt: int) -> Program:
    """A program of the half, the same for the same numbers."""
    rng = np.random.default_rng((SEEDS[half].healthy, HALVES.index(half), index, attempt))
    families = FAMILIES[half]
    program = families[index % len(families)]
    framework = FRAMEWORKS[index // len(families) % 2]
    program = replace(program, framework=framework, network=_network(program.network, rng))
    program = replace(program, descent=_descent(program, rng))
    if program.descent.kind == "Lion":
        program = replace(program, framework="scratchnet")
    if program.descent.kind == "Muon":
        # It moves matrices only, so all parameters are to be matrices.
        program = program.but("network", norm="", bias=False)
    if rng.random() < 0.2:
        program = program.but("data", wrong_labels=float(rng.uniform(0.02, 0.12)))
    return _loop(program, rng)


def _network(network: Network, rng: np.random.Generator) -> Network:
    width = int(network.width * rng.choice([0.5, 1, 1, 2, 3])) // 2 * 2
    if network.architecture == "transformer":
        return replace(network, width=max(width, 16), dropout=float(rng.choice([0.0, 0.0, 0.1])))
    # Pooling takes two blocks, and images are small.
    depth = 2 if network.architecture == "cnn" else int(rng.integers(1, 5))
    activation = str(rng.choice(["ReLU", "ReLU", "Tanh", "GELU", "LeakyReLU", "SiLU"]))
    return replace(
        network,
        width=max(width, 12),
        depth=depth,
        activations=(activation,) * depth,
        norm=rng.choice(np.array(["", "", "batch", "layer"])).item(),
        dropout=float(rng.choice([0.0, 0.0, 0.1, 0.25])),
        residual=bool(rng.random() < 0.3),
        cell=str(rng.choice(["LSTM", "GRU"])),
    )


def _descent(program: Program, rng: np.random.Generator) -> Descent:
    is_plain = program.network.architecture == "mlp"
    descent = OPTIMIZERS[int(rng.integers(len(OPTIMIZERS) - (not is_plain)))]
    # A regression's gradient is the larger, the farther it is off.
    factor = 0.5 if descent.kind == "SGD" and not program.is_classifier else 1.0
    lr = descent.lr * factor * float(2 ** rng.uniform(-1, 1))
    return replace(descent, lr=lr, schedule=str(rng.choice(SCHEDULES)))


def _loop(program: Program, rng: np.random.Generator) -> Program:
    """Length, batch, and now and then a pretrained network of which only the end is trained."""
    batch = int(rng.choice([16, 32, 32, 64]))
    is_small = program.network.architecture == "mlp"
    length = int(rng.choice([1, 1, 2, 4] if is_small else [1, 1, 2]))
    program = program.but("loop", batch=batch, steps=program.loop.steps * length)
    if program.network.architecture != "transformer" and rng.random() < 0.15:
        frozen = int(rng.integers(1, program.network.depth + 1))
        program = program.but("loop", pretrained=program.loop.steps, frozen=frozen)
    return program
