"""The numbers that rules decide by, each with its source, and how a user replaces them."""

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Threshold(NamedTuple):
    """A number that a rule decides by, and where it comes from."""

    value: float
    source: str


Replaced = Mapping[str, Mapping[str, float]]

AUTOTRAINER = "Zhang et al., AUTOTRAINER, ICSE 2021"
DEEPCHECKER = "Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022"
SAGEMAKER = "Amazon SageMaker Debugger"
OURS = "ours: no published figure"

THRESHOLDS: Mapping[str, Mapping[str, Threshold]] = {
    "dead_units": {
        "most_dead": Threshold(0.5, f"{SAGEMAKER}, DeadRelu: more than half of a layer"),
        "all_dead": Threshold(0.99, f"{OURS}; nothing passes such a layer"),
        "most_left": Threshold(0.3, f"{OURS}; in losses of a guess, on either set; half a layer may do"),
    },
    "saturated_units": {
        "most_saturated": Threshold(0.5, f"{SAGEMAKER}, SaturatedActivation: more than half of a layer"),
    },
    "vanishing_gradients": {
        "least_ratio": Threshold(1e-3, AUTOTRAINER),
        "least_norm": Threshold(1e-4, AUTOTRAINER),
        "faint_ratio": Threshold(0.08, f"{OURS}; none of 960 healthy runs of ours alarms"),
        "most_left": Threshold(0.35, f"{OURS}; in losses of a guess"),
    },
    "exploding_gradients": {
        "largest_ratio": Threshold(70.0, AUTOTRAINER),
        "largest_growth": Threshold(100.0, OURS),
    },
    "learning_rate_too_high": {
        "largest_ratio": Threshold(1e-1, DEEPCHECKER),
        "largest_leap": Threshold(5.0, OURS),
        "largest_sharpness": Threshold(
            2.0, "Lewkowycz et al., 2020: up to twice the threshold a run may recover"
        ),
        "least_leap_ratio": Threshold(1e-2, f"{OURS}; a rate that leaps while it warms up moves little"),
    },
    "learning_rate_too_low": {
        "least_ratio": Threshold(1e-4, DEEPCHECKER),
        "least_of_peak": Threshold(0.1, OURS),
        "least_kept": Threshold(0.3, f"{OURS}; of Adagrad's first steps; 0.1 after a hundred alike"),
        "faint_ratio": Threshold(6e-4, f"{OURS}; CS231n calls 1e-3 healthy"),
        "most_left": Threshold(0.35, f"{OURS}; in losses of a guess"),
    },
    "bad_initialization": {
        "largest_bias": Threshold(1.0, f"{OURS}; PyTorch's own lie below 1/√inputs"),
        "least_gain": Threshold(0.1, f"{OURS}; He's is 1.41, PyTorch's own 0.58"),
        "largest_gain": Threshold(5.0, OURS),
        "least_passed_on": Threshold(0.02, f"{OURS}; healthy runs of ours pass on 0.08 and more"),
    },
    "symmetric_initialization": {
        "largest_stable_rank": Threshold(1.05, f"{OURS}; rows all alike have exactly 1"),
    },
    "wrong_initial_loss": {
        "largest_excess": Threshold(1.0, DEEPCHECKER),
    },
    "unscaled_input": {
        "largest_size": Threshold(10.0, f"{AUTOTRAINER}: omega of 10 for the size of a layer's output"),
        "least_size": Threshold(0.02, OURS),
    },
    "unscaled_target": {
        "largest_size": Threshold(10.0, OURS),
        "least_explained": Threshold(0.1, OURS),
    },
    "repeated_batches": {
        "largest_ratio": Threshold(2.0, f"{OURS}; of the validation loss over the training loss"),
        "least_gap": Threshold(0.1, f"{OURS}; in losses of a guess"),
        "whole_set": Threshold(100, f"{OURS}; so many examples at every step may be all there are"),
    },
    "unshuffled_data": {
        "least_share": Threshold(0.25, OURS),
        "least_correlation": Threshold(0.5, OURS),
    },
    "class_imbalance": {
        "largest_ratio": Threshold(5.0, f"{OURS}; {SAGEMAKER}, ClassImbalance, has 10"),
        "most_missed": Threshold(0.7, f"{SAGEMAKER}, ClassImbalance"),
    },
    "label_corruption": {
        "largest_lift": Threshold(1.5, OURS),
        "least_progress": Threshold(0.3, OURS),
        "least_passed_on": Threshold(0.1, OURS),
        "most_lost": Threshold(0.07, f"{OURS}; of the validation accuracy"),
        "largest_gap": Threshold(0.25, f"{OURS}; in losses of a guess"),
    },
    "constant_output": {
        "least_spread": Threshold(1e-3, OURS),
    },
    "input_ignored": {
        "least_share": Threshold(1e-3, OURS),
    },
    "head_loss_mismatch": {
        "margin": Threshold(0.02, f"{OURS}; rounded soft targets stay within"),
    },
    "redundant_softmax": {
        "tolerance": Threshold(1e-3, f"{OURS}; the bounds ln(1 + (C - 1)/e) and ln(e + C - 1) are exact"),
    },
    "logit_drift": {
        "largest_score": Threshold(100.0, "Kimi K2, 2025: QK-clip at 100"),
    },
    "frozen_parameters": {
        "least_share": Threshold(0.05, OURS),
    },
    "narrow_layer": {
        "most_units": Threshold(2, f"{OURS}; a plane at most"),
        "least_ratio": Threshold(4.0, f"{OURS}; against the widest hidden layer"),
    },
    "missing_zero_grad": {
        "least_growth": Threshold(3.0, f"{OURS}; a sum of nine gradients"),
        "largest_flicker": Threshold(0.08, OURS),
        "most_rises": Threshold(0.7, f"{OURS}; it is a half where each step has its own gradient"),
        "least_agreement": Threshold(0.3, f"{OURS}; about -1/3 where each step has its own gradient"),
    },
    "wrong_update_direction": {
        "largest_ratio": Threshold(0.02, f"{OURS}; longer updates may overshoot instead"),
        "least_rise": Threshold(0.3, f"{OURS}; 1 where the loss is linear and steps go straight up"),
    },
    "oscillation": {
        "largest_swing": Threshold(0.2, OURS),
        "most_turns": Threshold(6, OURS),
        "largest_jump": Threshold(0.1, f"{OURS}; in losses of a guess; {AUTOTRAINER} has 0.03 of accuracy"),
        "most_jumps": Threshold(1, OURS),
    },
    "loss_spike": {
        "largest_score": Threshold(7.0, "OLMo 2, 2025: spike score"),
        "least_height": Threshold(0.5, f"{OURS}, in initial losses"),
        "window": Threshold(20, OURS),
    },
    "overfitting": {
        "largest_rise": Threshold(0.15, f"{OURS}; {SAGEMAKER}, Overfit, has 0.1"),
        "least_rise": Threshold(0.1, f"{OURS}; in losses of a guess"),
        "least_after": Threshold(3, OURS),
    },
    "underfitting": {
        "largest_gap": Threshold(0.1, f"{SAGEMAKER}, Overfit, turned round"),
        "least_share": Threshold(0.5, OURS),
        "hopeless_classes": Threshold(0.65, OURS),
        "hopeless_numbers": Threshold(0.8, f"{OURS}; much of a number may be noise"),
    },
    "weight_blow_up": {
        "largest_growth": Threshold(10.0, "torchmortem 2026"),
    },
    "over_regularized": {
        "least_left": Threshold(0.5, OURS),
        "largest_dropout": Threshold(
            0.55, "Schoop et al., UMLAUT, CHI 2021: above a half, and what estimates err by"
        ),
    },
    "epsilon_dominates": {
        "largest_multiple": Threshold(10.0, "Wortsman et al., Small-scale proxies, 2023, as read by us"),
    },
    "clipping_always_active": {
        "largest_share": Threshold(0.9, OURS),
        "largest_scatter": Threshold(1e-3, f"{OURS}; what is clipped to one norm has that norm"),
    },
    "edge_of_stability": {
        "least": Threshold(0.7, "torchmortem 2026: within 30 % of the threshold"),
        "largest": Threshold(1.3, "torchmortem 2026: within 30 % of the threshold"),
        "least_share": Threshold(0.3, "torchmortem 2026: in 30 % of the readings"),
    },
    "dormant_units": {
        "most_dormant": Threshold(0.5, f"{OURS}; half of a layer, as for dead units"),
        "least_growth": Threshold(0.2, f"{OURS}; Sokar et al., 2023: the trend says more than the level"),
    },
    "rank_collapse": {
        "least_left": Threshold(0.3, "torchmortem 2026: critical share of the first rank"),
        "least_directions": Threshold(2.0, f"{OURS}; where the task has no classes"),
    },
    "neural_collapse": {
        "largest_variability": Threshold(0.2, f"{OURS}; Papyan et al., 2020, plot it towards 0"),
        "largest_deviation": Threshold(0.15, f"{OURS}; likewise"),
        "least_agreement": Threshold(0.99, f"{OURS}; likewise, towards 1"),
    },
    "redundant_depth": {
        "least_similarity": Threshold(0.98, f"{OURS}; Nguyen et al., 2021, show blocks near 1"),
        "least_layers": Threshold(2, OURS),
    },
    "attention_collapse": {
        "least_entropy": Threshold(0.05, f"{OURS}; in the middle head, so in half of them"),
    },
    "noisy_gradients": {
        "largest_multiple": Threshold(10.0, f"{OURS}; McCandlish et al., 2018, call 1 the turning point"),
        "least_batch": Threshold(8, f"{OURS}; healthy runs of ours have 16 and more"),
    },
    "wasteful_batch": {
        "largest_multiple": Threshold(10.0, f"{OURS}; likewise"),
    },
    "train_eval_mode": {
        "largest_loss_ratio": Threshold(1.5, f"{DEEPCHECKER}: losses that differ by half"),
    },
    "skipped_steps": {
        "largest_share": Threshold(0.1, f"{OURS}; GradScaler tries a larger scale once in 2000 steps"),
    },
    "too_few_steps": {
        "least_steps": Threshold(100, f"{OURS}; CS231n: a step moves a weight by about a thousandth"),
        "most_kept": Threshold(0.95, f"{OURS}; of the loss in the middle of the run"),
    },
    "slow_convergence": {
        "least_progress": Threshold(0.05, DEEPCHECKER),
    },
}


def read_thresholds(
    given: str | Path | Replaced | None, known: Mapping[str, Mapping[str, Threshold]]
) -> dict[str, dict[str, float]]:
    """The thresholds that a user sets, by rule and name.

    Args:
        given: A TOML file with a table for each rule, or the same as a mapping; None for none.
        known: The thresholds of every rule that is to judge.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not TOML, or names a rule or a threshold that there is not, or no number.
    """
    source, tables = _tables(given)
    return {rule: dict(_checked(source, rule, table, known)) for rule, table in tables.items()}


def _tables(given: str | Path | Replaced | None) -> tuple[str, Mapping[str, Any]]:
    if given is None or isinstance(given, Mapping):
        return "thresholds", given or {}
    try:
        return str(given), tomllib.loads(Path(given).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"diagnose needs thresholds as a TOML file, {given} is none: {error}") from error


def _checked(
    source: str, rule: str, table: object, known: Mapping[str, Mapping[str, Threshold]]
) -> Iterator[tuple[str, float]]:
    if rule not in known or not known[rule]:
        having = ", ".join(name for name in known if known[name])
        raise ValueError(
            f"diagnose needs a rule that has thresholds, {source} names {rule!r}; there is: {having}"
        )
    if not isinstance(table, Mapping):
        raise ValueError(
            f"diagnose needs a table [{rule}] of thresholds in {source}, got {table!r}; "
            f"write [{rule}] and, below it, {next(iter(known[rule]))} = {next(iter(known[rule].values())).value:g}"
        )
    for name, value in table.items():
        if name not in known[rule]:
            raise ValueError(
                f"diagnose needs a threshold that {rule} has, {source} names {name!r}; "
                f"there is: {', '.join(known[rule])}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise ValueError(f"diagnose needs {rule}.{name} to be a number, {source} has {value!r}")
        yield name, float(value)
