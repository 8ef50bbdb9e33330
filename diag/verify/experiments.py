"""Experiments that change the input, the mode or the data, and the list of all."""

import math
from collections.abc import Iterator

import numpy as np

from diag.capture.trial import Batch, Numbers
from diag.verify.bench import Bench, Experiment
from diag.verify.checks import Check, Verdict
from diag.verify.gradient_check import ON_GRADIENT, gradient_check
from diag.verify.line_probe import ON_DIRECTION, ON_HIGH_RATE, ON_LOW_RATE, line_probe

# The rules whose findings each bears on.
ON_INPUT = ("input_ignored", "constant_output", "constant_input")
ON_MODE = ("train_eval_mode", "overfitting")
ON_LEARNING = (
    "underfitting",
    "slow_convergence",
    "dead_units",
    "saturated_units",
    "vanishing_gradients",
    "head_loss_mismatch",
    "redundant_softmax",
    "constant_output",
    "frozen_parameters",
    "disconnected_parameters",
    "symmetric_initialization",
)

# Few enough that any network with a sound gradient can learn them by heart.
FEW_EXAMPLES = 16


# --------------------------------------------------------------------------------- zeroed input


def zeroed_input(bench: Bench) -> Iterator[Check]:
    """Whether the output depends on the input, and the loss gains from it.

    Confirmed where the output moves by less than a thousandth of its size when the input is set to zero;
    refuted where the loss is lower with the input by 5 % or more. In between the input arrives, but is of no
    use yet, as before training. A network that reads only a part of its input passes.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019 (the input-independent baseline);
        Ben Braiek and Khomh, "Testing Feedforward Neural Networks Training Programs", 2023, arXiv:2204.00694.
    """
    trial, batch = bench.trial, bench.batch
    real, blank = trial.run(batch), trial.run(Batch(trial.zeroed(batch.x), batch.y))
    change = _rms(real.output - blank.output) / max(_rms(real.output), 1e-30)
    verdict: Verdict = "undecided"
    if change < 1e-3:
        verdict = "confirmed"
    elif blank.loss - real.loss >= 0.05 * abs(blank.loss):
        verdict = "refuted"
    yield Check(
        experiment="zeroed_input",
        claim="The network does not use its input.",
        verdict=verdict,
        numbers={
            "output_change": change,
            "loss": real.loss,
            "loss_with_zeroed_input": blank.loss,
        },
        text=(
            f"With the input set to zero the output moves by {change:.2%} of its size, and the loss is "
            f"{blank.loss:.4g} in place of {real.loss:.4g}."
        ),
        meaning={
            "confirmed": "Look for what cuts the input off: dead units, a wrong slice or reshape, a zeroed scale.",
            "refuted": "The input arrives and is used; look for the cause elsewhere.",
            "undecided": (
                "The input arrives, but the loss does not gain from it: usual before training, and later a sign "
                "that inputs and targets do not belong together."
            ),
        }[verdict],
        rules=ON_INPUT,
        source="Karpathy, A Recipe for Training Neural Networks, 2019; Ben Braiek and Khomh, 2023, arXiv:2204.00694",
    )


# --------------------------------------------------------------------------- overfit one batch


def overfit_one_batch(bench: Bench) -> Iterator[Check]:
    """Whether the network can learn a few examples by heart, as any sound one can.

    The first 16 examples of the batch are trained on by Adam from the weights that the model has, without
    dropout; then once more with their inputs set to zero, which is the best that can be done without
    looking. Confirmed where the loss stays above half of that, refuted where it falls below a tenth. A loss
    that cannot come near zero (label smoothing, noisy or equal inputs) stays in between.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019 ("overfit one batch");
        Ben Braiek and Khomh, "Testing Feedforward Neural Networks Training Programs", 2023, arXiv:2204.00694.
    """
    batch = bench.batch.first(FEW_EXAMPLES)
    start = bench.trial.run(batch).loss
    blind = _least_loss(bench, Batch(bench.trial.zeroed(batch.x), batch.y), enough=-math.inf)
    least = _least_loss(bench, batch, enough=0.05 * blind)
    verdict: Verdict = "undecided"
    if 0 <= least <= 0.1 * blind:
        verdict = "refuted"
    # Where hardly any loss is left without looking, as for equal targets, there was nothing to learn from inputs.
    elif least > 0.5 * blind > 0.05 * start:
        verdict = "confirmed"
    yield Check(
        experiment="overfit_one_batch",
        claim=f"The network cannot learn even {len(batch)} examples.",
        verdict=verdict,
        numbers={
            "examples": float(len(batch)),
            "loss_before": start,
            "least_loss": least,
            "least_loss_with_zeroed_input": blind,
        },
        text=(
            f"Trained on {len(batch)} examples alone for at most {2 * bench.steps} steps, the loss falls from "
            f"{start:.4g} to {least:.4g}; without looking at the input, to {blind:.4g}."
        ),
        meaning={
            "confirmed": (
                "The cause lies in the network, the loss or how they are wired, not in the amount of data or "
                "the schedule; or the targets do not depend on the inputs."
            ),
            "refuted": (
                "Network, loss and gradient can learn: look at the learning rate, the regularisation and the data."
            ),
            "undecided": (
                "It learns something, but not all: a loss with a floor above zero, few distinct targets, or too "
                "short a training (steps=)."
            ),
        }[verdict],
        rules=ON_LEARNING,
        source="Karpathy, A Recipe for Training Neural Networks, 2019; Ben Braiek and Khomh, 2023, arXiv:2204.00694",
    )


def _least_loss(bench: Bench, batch: Batch, enough: float) -> float:
    """The lowest loss on the way of two short trainings, one with large steps and one with small ones."""
    least = math.inf
    for rate in (1e-2, 1e-3):
        least = min(least, _trained(bench, batch, rate, enough))
        if least <= enough:
            break
    return least


def _trained(bench: Bench, batch: Batch, rate: float, enough: float) -> float:
    """Adam by hand, for an optimiser would lay its own buffers into the model."""
    weights = bench.trial.weights.copy()
    mean, square, least = np.zeros_like(weights), np.zeros_like(weights), math.inf
    for step in range(1, bench.steps + 1):
        _, loss, gradient = bench.trial.run(batch, weights, wants_gradient=True)
        if not math.isfinite(loss):
            break
        least = min(least, loss)
        if least <= enough:
            break
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient**2 - square)
        corrected = np.sqrt(square / (1 - 0.999**step)) + 1e-8
        weights -= rate * (1 - (step - 1) / bench.steps) * (mean / (1 - 0.9**step)) / corrected
    return least


# ----------------------------------------------------------------------------------- mode flip


def mode_flip(bench: Bench) -> Iterator[Check]:
    """Whether the network is worse in evaluation mode than in training mode, on the same batch.

    Dropout makes training mode the worse one; where evaluation mode is, running statistics do not describe
    the data: too few steps, a momentum or a batch that is too small, data that moved on. Confirmed where the
    loss is larger by half and beyond the spread of eight training passes, refuted up to a tenth.

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015, arXiv:1502.03167; Ioffe, "Batch Renormalization",
        2017, arXiv:1702.03275.
    """
    trial, batch = bench.trial, bench.batch
    passes = trial.training_losses(batch, 8)
    training, spread = float(np.mean(passes)), float(np.std(passes))
    steady, evaluation = trial.run(batch).loss, trial.run(batch, mode="evaluation").loss
    blank = trial.run(Batch(trial.zeroed(batch.x), batch.y)).loss
    # Of two losses that are next to nothing, neither is worse.
    scale = max(abs(training), 0.1 * abs(blank))
    gap = evaluation - training
    verdict: Verdict = "undecided"
    if gap > 0.5 * scale + 2 * spread:
        verdict = "confirmed"
    elif gap <= 0.1 * scale + 2 * spread:
        verdict = "refuted"
    yield Check(
        experiment="mode_flip",
        claim="The network is worse in evaluation mode than in training mode.",
        verdict=verdict,
        numbers={
            "training_loss": training,
            "training_loss_spread": spread,
            "training_loss_without_dropout": steady,
            "evaluation_loss": evaluation,
        },
        text=(
            f"On the same batch the loss is {training:.4g} in training mode, {steady:.4g} without what is random in "
            f"it, and {evaluation:.4g} in evaluation mode."
        ),
        meaning={
            "confirmed": (
                "Running statistics do not describe the data: raise their momentum or the batch, recompute them, "
                "or use a normalisation without them."
            ),
            "refuted": "The mode is not what makes validation worse.",
            "undecided": "Evaluation is somewhat worse: look again when the running statistics have seen more batches.",
        }[verdict],
        rules=ON_MODE,
        source="Ioffe and Szegedy, 2015, arXiv:1502.03167; Ioffe, 2017, arXiv:1702.03275",
    )


def _rms(array: Numbers) -> float:
    return float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0


# In the order in which they are made: the cheap ones first.
EXPERIMENTS = {
    "zeroed_input": Experiment(zeroed_input, ON_INPUT),
    "mode_flip": Experiment(mode_flip, ON_MODE),
    "line_probe": Experiment(line_probe, ON_DIRECTION + ON_HIGH_RATE + ON_LOW_RATE),
    "gradient_check": Experiment(gradient_check, ON_GRADIENT),
    "overfit_one_batch": Experiment(overfit_one_batch, ON_LEARNING),
}
