"""Which rules are right for which operator: written down before anything was scored.

A detection is a finding of warning or above from either column. Named right is only what the first column
holds: the fault itself, or what a practitioner would do the right thing about. The second holds what the
fault brings about, which is true and helps to see that something is wrong, but does not say what.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Truth(NamedTuple):
    """Rule ids that are right for an operator."""

    causes: frozenset[str]
    symptoms: frozenset[str]

    @property
    def row(self) -> frozenset[str]:
        """All that count as a detection."""
        return self.causes | self.symptoms


STALLS = frozenset({"slow_convergence", "underfitting", "learning_rate_too_low"})
DEATHS = frozenset({"dead_units", "dormant_units", "saturated_units", "constant_output", "input_ignored"})
FADES = DEATHS | {"vanishing_gradients", "disconnected_parameters", "rank_collapse"}
BLASTS = frozenset(
    {
        "learning_rate_too_high",
        "exploding_gradients",
        "non_finite",
        "weight_blow_up",
        "logit_drift",
        "loss_spike",
        "oscillation",
    }
)
START = frozenset({"wrong_initial_loss"})
MEMORY = frozenset({"overfitting"})


def _row(*causes: str, brings: frozenset[str] = frozenset()) -> Truth:
    return Truth(frozenset(causes), brings - frozenset(causes))


TRUTH: Mapping[str, Truth] = {
    # ---- data
    "inputs far too large": _row("unscaled_input", brings=BLASTS | DEATHS | STALLS | START),
    "inputs far too small": _row("unscaled_input", brings=FADES | STALLS),
    "inputs far from zero": _row("unscaled_input", brings=BLASTS | FADES | STALLS | START),
    "inputs blank": _row("constant_input", "input_ignored", brings=FADES | STALLS | MEMORY),
    "inputs with a NaN": _row("non_finite"),
    "noise on inputs": _row(
        "overfitting", "underfitting", "noisy_gradients", "label_corruption", brings=STALLS
    ),
    "targets not scaled": _row("unscaled_target", brings=BLASTS | FADES | STALLS | START),
    "labels changed": _row("label_corruption", brings=STALLS | MEMORY | {"noisy_gradients"}),
    "labels dealt among others": _row("label_corruption", brings=STALLS | MEMORY | {"noisy_gradients"}),
    "classes overlap": _row("label_corruption", "class_imbalance", brings=STALLS | MEMORY),
    "classes unbalanced": _row("class_imbalance", brings=MEMORY | {"constant_output", "input_ignored"}),
    "training data deleted": _row("overfitting", "repeated_batches"),
    "not shuffled": _row(
        "unshuffled_data",
        "oscillation",
        "repeated_batches",
        brings=STALLS | MEMORY | {"loss_spike", "noisy_gradients"},
    ),
    # ---- the start
    "weights start at zero": _row("symmetric_initialization", brings=FADES | STALLS | {"frozen_parameters"}),
    "weights start alike": _row("symmetric_initialization", brings=FADES | STALLS | {"redundant_depth"}),
    "weights start too large": _row(
        "bad_initialization", "wrong_initial_loss", brings=BLASTS | DEATHS | STALLS
    ),
    "weights start too small": _row("bad_initialization", "vanishing_gradients", brings=FADES | STALLS),
    "head starts too large": _row(
        "bad_initialization", "wrong_initial_loss", brings=BLASTS | DEATHS | STALLS
    ),
    "biases start below zero": _row("dead_units", "bad_initialization", brings=FADES | STALLS),
    "attention starts too sharp": _row(
        "attention_collapse", "bad_initialization", brings=BLASTS | STALLS | MEMORY
    ),
    # ---- the network
    "sigmoids in depth": _row("vanishing_gradients", "saturated_units", brings=FADES | STALLS),
    "too deep for its start": _row(
        "vanishing_gradients", "bad_initialization", "redundant_depth", "rank_collapse", brings=FADES | STALLS
    ),
    "softmax inside": _row("softmax_inside", "vanishing_gradients", brings=FADES | STALLS),
    "no nonlinearity": _row("missing_nonlinearity", brings=STALLS),
    "softmax before cross-entropy": _row("redundant_softmax", brings=STALLS | {"vanishing_gradients"}),
    "no logarithm before NLLLoss": _row("head_loss_mismatch", brings=BLASTS | FADES | STALLS),
    "bounded head for a regression": _row("head_loss_mismatch", brings=FADES | STALLS),
    "bottleneck": _row("narrow_layer", "underfitting", "rank_collapse", "dead_units", brings=FADES | STALLS),
    "too much dropout": _row(
        "over_regularized", "underfitting", "noisy_gradients", "train_eval_mode", brings=FADES | STALLS
    ),
    # ---- the loop
    "no zero_grad": _row("missing_zero_grad", brings=BLASTS | DEATHS | STALLS),
    "optimiser misses layers": _row("frozen_parameters", brings=STALLS),
    "layers frozen": _row("frozen_parameters", "disconnected_parameters", brings=STALLS),
    "graph cut": _row("disconnected_parameters", "frozen_parameters", brings=STALLS),
    "evaluation mode left on": _row("train_eval_mode", brings=BLASTS | FADES | STALLS | MEMORY),
    "validated in training mode": _row("train_eval_mode", brings=STALLS | MEMORY | {"over_regularized"}),
    "sign flipped": _row("wrong_update_direction", brings=BLASTS | DEATHS | STALLS),
    "sum instead of mean": _row(
        "sum_reduction",
        "learning_rate_too_high",
        "exploding_gradients",
        "wrong_initial_loss",
        brings=BLASTS | DEATHS | STALLS,
    ),
    "the same batches again": _row("repeated_batches", "overfitting", brings=frozenset({"label_corruption"})),
    "batch too small": _row(
        "noisy_gradients", "oscillation", "learning_rate_too_high", brings=BLASTS | DEATHS | STALLS
    ),
    "batching disabled": _row("wasteful_batch", brings=STALLS | MEMORY),
    "too few steps": _row("too_few_steps", "underfitting", "slow_convergence", "learning_rate_too_low"),
    "another loss": _row("head_loss_mismatch", "underfitting", brings=FADES | STALLS),
    # ---- optimiser and schedule
    "learning rate too high": _row("learning_rate_too_high", brings=BLASTS | DEATHS | STALLS),
    "learning rate too low": _row("learning_rate_too_low", brings=STALLS),
    "learning rate leaps": _row("learning_rate_too_high", brings=BLASTS | DEATHS | STALLS),
    "schedule by step, not by pass": _row("learning_rate_too_low", brings=STALLS),
    "schedule decays too fast": _row("learning_rate_too_low", brings=STALLS),
    "momentum too high": _row("learning_rate_too_high", "oscillation", brings=BLASTS | DEATHS | STALLS),
    "epsilon too large": _row("epsilon_dominates", brings=STALLS),
    "weight decay too strong": _row("over_regularized", brings=FADES | STALLS),
    "clipped too short": _row("clipping_always_active", brings=STALLS),
    "another optimiser": _row("learning_rate_too_low", brings=STALLS),
}
