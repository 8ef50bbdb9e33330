"""What was wrong before the first step."""

import math
from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES, Outcome
from diag.diagnosis.persistence import begins_to_last
from diag.diagnosis.rules import rule
from diag.diagnosis.task import (
    class_count,
    column,
    from_the_start,
    guess_of_classes,
    head_of,
    layers_that_ran,
    severity_of,
    starts_badly,
)
from diag.events import Parameter
from diag.log import Log

# Layers whose weights are drawn to the scale of what comes in.
SCALED_BY_FAN_IN = ("Linear", "Conv", "Bilinear", "MultiheadAttention")


@rule("weight_norm", LOSSES)
def bad_initialization(
    log: Log, *, least_gain: float, largest_gain: float, largest_bias: float, least_passed_on: float
) -> Iterator[Finding]:
    """Weights drawn far too small or large for their inputs or for the depth, or biases that outweigh them."""
    from_the_start(log)
    of_weights = list(_of_weights(log, least_gain, largest_gain))
    yield from of_weights or _of_depth(log, least_passed_on)
    yield from _of_biases(log, largest_bias)


def _of_weights(log: Log, least_gain: float, largest_gain: float) -> Iterator[Finding]:
    gains = initial_gains(log)
    head = head_of(log)
    # A head, or the end of a residual branch, may start at zero on purpose.
    outside = {
        name: gain
        for name, gain in gains.items()
        if gain > largest_gain or (0 < gain < least_gain and not (head and name in head.parameters))
    }
    if not outside:
        return
    worst = max(outside, key=lambda name: abs(math.log(outside[name])))
    yield Finding(
        rule="bad_initialization",
        severity="fault" if starts_badly(log) else severity_of(log),
        layer=_owner(log, worst).layer,
        onset_step=0,
        evidence=Evidence(
            series="weight_norm",
            value=outside[worst],
            band=f"gain from {least_gain:g} to {largest_gain:g}",
            readings=len(outside),
            last_healthy_step=None,
            text=(
                f"At step 0 the weights of {worst!r} have {outside[worst]:.3g} times the standard deviation "
                f"1/√fan_in (He's for ReLU has 1.41); {len(outside)} of {len(gains)} weight matrices lie outside."
            ),
        ),
        why=(
            "Each layer multiplies the size of its signal, forward and back, by about this gain: "
            "after a few layers it has vanished or exploded before anything is learned."
        ),
        fix="Draw weights by the number of inputs: He's initialisation for ReLU, Xavier's for tanh.",
        confidence=0.85,
        references=(
            "He et al., Delving Deep into Rectifiers, 2015, arXiv:1502.01852",
            "Glorot and Bengio, Understanding the difficulty of training deep feedforward networks, 2010",
        ),
    )


def _of_depth(log: Log, least: float) -> Iterator[Finding]:
    """Weights each of which is drawn only a little too small, so that the signal fades over many layers."""
    if "activation_rms" not in log:
        return
    series = log.series("activation_rms")
    layers = layers_that_ran(log)
    # What follows the last layer with weights, such as a softmax, is of the head; and a head may start at zero.
    head = max((index for index, layer in enumerate(layers) if layer.parameters), default=0)
    hidden = [layer.name for layer in layers[:head] if layer.name in series.columns]
    sizes = {name: float(series.column(name)[0]) for name in hidden}
    sizes = {name: size for name, size in sizes.items() if np.isfinite(size)}
    # The last before the head: what a normalisation on the way brings back to size is not lost.
    first, last = next(iter(sizes), ""), next(reversed(sizes), "")
    # Inputs that are large, and brought to size by a normalisation, do not fade.
    if not sizes or not sizes[last] < least * min(sizes[first], 1.0):
        return
    share = sizes[last] / sizes[first]
    yield Finding(
        rule="bad_initialization",
        severity="fault" if starts_badly(log) else severity_of(log),
        layer=last,
        onset_step=0,
        evidence=Evidence(
            series="activation_rms",
            value=share,
            band=f"at least {least:g} of the first layer's",
            readings=sum(size < least * sizes[first] for size in sizes.values()),
            last_healthy_step=None,
            text=(
                f"At step 0 the output of layer {last!r} has {share:.2g} times the root mean square of that of "
                f"{first!r}: over {len(sizes)} layers the signal fades away."
            ),
        ),
        why="Each layer makes the signal a little fainter; in depth nothing of it is left, forward or back.",
        fix="Draw weights by the number of inputs (He's initialisation for ReLU), or add normalisation or residuals.",
        confidence=0.8,
        references=("He et al., Delving Deep into Rectifiers, 2015, arXiv:1502.01852",),
    )


def _of_biases(log: Log, largest: float) -> Iterator[Finding]:
    """Biases of hidden layers that start farther from zero than what they are added to usually reaches."""
    norms = log.series("weight_norm")
    sizes = {
        parameter.name: float(norms.column(parameter.name)[0] / math.sqrt(parameter.shape[0]))
        for parameter in log.model.parameters
        if len(parameter.shape) == 1
        and parameter.name in norms.columns
        and _is_bias_of_hidden(log, parameter)
    }
    worst = max(sizes, key=lambda name: sizes[name], default=None)
    if worst is None or not sizes[worst] > largest:
        return
    yield Finding(
        rule="bad_initialization",
        severity="fault" if starts_badly(log) else severity_of(log),
        layer=_owner(log, worst).layer,
        onset_step=0,
        evidence=Evidence(
            series="weight_norm",
            value=sizes[worst],
            band=f"a root mean square of at most {largest:g}",
            readings=sum(size > largest for size in sizes.values()),
            last_healthy_step=None,
            text=f"At step 0 the biases {worst!r} have a root mean square of {sizes[worst]:.3g}; inputs add about 1.",
        ),
        why="A bias that outweighs the inputs decides alone: a unit is always on, always off, or at an end.",
        fix="Let biases of hidden layers start at zero or close to it.",
        confidence=0.8,
        references=("Nikanjam et al., NeuraLint, TOSEM 2021: biases that do not start at zero",),
    )


def _is_bias_of_hidden(log: Log, parameter: Parameter) -> bool:
    """Whether a parameter is the bias of a layer that sums inputs, and not of the last such layer."""
    summing = [
        layer
        for layer in log.model.layers
        if layer.kind.startswith(("Linear", "Conv")) and layer.output_shape
    ]
    return parameter.name.endswith("bias") and parameter.layer in {layer.name for layer in summing[:-1]}


def initial_gains(log: Log) -> dict[str, float]:
    """By weight matrix, its standard deviation at the first step over 1/√fan_in."""
    norms = log.series("weight_norm")
    kinds = {layer.name: layer.kind for layer in log.model.layers}
    return {
        parameter.name: float(norms.column(parameter.name)[0] / math.sqrt(parameter.shape[0]))
        for parameter in log.model.parameters
        if parameter.name in norms.columns
        and len(parameter.shape) >= 2
        and kinds.get(parameter.layer, "").startswith(SCALED_BY_FAN_IN)
        and "Transpose" not in kinds[parameter.layer]
    }


def _owner(log: Log, name: str) -> Parameter:
    return next(parameter for parameter in log.model.parameters if parameter.name == name)


@rule("weight_norm", "parameters/gradient_norm", LOSSES)
def symmetric_initialization(log: Log, *, largest_stable_rank: float) -> Iterator[Finding]:
    """Units of a layer that start alike and so stay alike: weights all zero, or all the same."""
    from_the_start(log)
    norms = log.series("weight_norm")
    matrices = [
        p for p in log.model.parameters if p.name in norms.columns and min((*p.shape[:2], 0)[:2]) >= 2
    ]
    stuck = {p.name: 0.0 for p in matrices if np.all(norms.column(p.name) == 0)}
    alike = stuck or _of_rank_one(log, matrices, largest_stable_rank) or _of_one_score(log, matrices)
    severity = severity_of(log)
    if not alike or severity == "note":
        return
    first = next(iter(alike))
    if stuck:
        what = f"The weights of {first!r} are zero at every recorded step"
    elif "stable_rank" in log:
        what = f"At step 0 the weights of {first!r} have a stable rank of {alike[first]:.3g}, all rows alike"
    else:
        what = f"At step 0 {first!r} gives every class the same score, though examples differ"
    yield Finding(
        rule="symmetric_initialization",
        severity=severity,
        layer=_owner(log, first).layer,
        onset_step=0,
        evidence=Evidence(
            series="stable_rank" if not stuck and "stable_rank" in log else "weight_norm",
            value=alike[first],
            band="above 0" if stuck else f"stable rank above {largest_stable_rank:g}",
            readings=len(alike),
            last_healthy_step=None,
            text=f"{what}; so it is for {len(alike)} of {len(matrices)} weight matrices.",
        ),
        why="Units that start alike get the same gradient at every step: a layer of them learns as one unit.",
        fix="Draw the weights at random (He's initialisation for ReLU, Xavier's for tanh); only biases may be zero.",
        confidence=0.9,
        references=("Goodfellow et al., Deep Learning, 2016, section 8.4",),
    )


def _of_rank_one(log: Log, matrices: list[Parameter], largest: float) -> dict[str, float]:
    """Matrices with all rows alike at the first step, where their stable rank was recorded."""
    if "stable_rank" not in log.names["parameters"]:
        return {}
    ranks = log.series("stable_rank", of="parameters")
    first = {p.name: float(ranks.column(p.name)[0]) for p in matrices if p.name in ranks.columns}
    wide = {p.name for p in matrices if _rank(p) >= 4}
    return {name: rank for name, rank in first.items() if name in wide and rank <= largest}


def _of_one_score(log: Log, matrices: list[Parameter]) -> dict[str, float]:
    """The head's matrix where the first loss is a guess's to the last digit, though predictions are not constant."""
    classes, outcome, head = class_count(log), Outcome.of(log), head_of(log)
    if classes is None or outcome is None or head is None or "prediction_std" not in log:
        return {}
    is_even = abs(outcome.initial - math.log(classes)) <= 1e-5 * math.log(classes)
    varies = column(log, "prediction_std")[0] > 1e-3 * (1 + abs(column(log, "prediction_mean")[0]))
    return {p.name: 1.0 for p in matrices if is_even and varies and p.layer == head.name}


def _rank(parameter: Parameter) -> int:
    """The largest rank that a parameter can have, as a matrix of units by inputs; 0 for a vector."""
    shape = parameter.shape
    return min(shape[0], math.prod(shape[1:])) if len(shape) >= 2 else 0


@rule("criterion_loss", "target_max", "target_mean")
def wrong_initial_loss(log: Log, *, largest_excess: float) -> Iterator[Finding]:
    """A classifier that begins confidently wrong: a first loss far above that of a guess."""
    from_the_start(log)
    outcome, guess, classes = Outcome.of(log), guess_of_classes(log), class_count(log)
    if outcome is None or guess is None:
        return
    excess = outcome.initial / guess - 1
    if excess <= largest_excess:
        return
    # A batch of few examples may be hard by chance; the next one is not.
    is_lasting = float(np.median(outcome.loss[:3])) > (1 + largest_excess) * guess
    end = begins_to_last(outcome.smooth <= guess, least=1)
    wasted = len(outcome.loss) if end is None else end
    yield Finding(
        rule="wrong_initial_loss",
        severity="warning" if is_lasting and starts_badly(log) else "note",
        layer=None,
        onset_step=0,
        evidence=Evidence(
            series="criterion_loss",
            value=outcome.initial,
            band=f"at most {(1 + largest_excess) * guess:.3g}",
            readings=wasted,
            last_healthy_step=None,
            text=(
                f"The first loss is {outcome.initial:.4g}; a guess among {classes} classes has "
                f"{guess:.4g}, as ln {classes} has it. It takes {wasted} recorded steps to get there."
            ),
        ),
        why="The first part of the run is spent on unlearning what the random start asserts.",
        fix="Make the last layer's weights smaller at the start, its bias the logarithm of the class frequencies.",
        confidence=0.6,
        references=(
            "Karpathy, A Recipe for Training Neural Networks, 2019: verify the loss at initialisation",
            "Threshold: Ben Braiek and Khomh, TheDeepChecker, TOSEM 2022",
        ),
    )
