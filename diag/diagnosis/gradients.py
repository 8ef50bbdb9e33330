"""Gradients that fade, or grow, on their way through the layers."""

from collections.abc import Iterator

import numpy as np

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.diagnosis.task import severity_of, training_left
from diag.log import Log, Series


@rule("gradient_norm_ratio", "layers/gradient_norm")
def vanishing_gradients(
    log: Log, *, least_ratio: float, least_norm: float, faint_ratio: float, most_left: float
) -> Iterator[Finding]:
    """Gradients of the first layer a thousand times smaller than the last's, and tiny; or faint where much is left."""
    layers = _trained_layers(log)
    if not layers.columns:
        return
    first = layers.values[:, 0]
    ratio = log.series("gradient_norm_ratio").at(layers.steps)[:, 0]
    onset, bound = begins_to_last((ratio < least_ratio) & (first < least_norm), least=5), least_ratio
    left = training_left(log)
    name = layers.columns[0]
    first_matrix = next((each for each in layers.columns if _has_matrix(log, each)), None)
    if onset is None and left is not None and left > most_left and first_matrix is not None:
        name = first_matrix
        # With a twelfth some networks make do; those that do not are told.
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = layers.column(name) / layers.values[:, -1]
        is_faint = ratio < faint_ratio
        onset, bound = (int(np.argmax(is_faint)) if is_faint.mean() > 0.5 else None), faint_ratio
    if onset is None:
        return
    step = int(layers.steps[onset])
    value = float(np.median(ratio[onset:]))
    yield Finding(
        rule="vanishing_gradients",
        severity=severity_of(log, step),
        layer=name,
        onset_step=step,
        evidence=Evidence(
            series="gradient_norm_ratio",
            value=value,
            band=f"at least {bound:g}",
            readings=int(np.count_nonzero(ratio[onset:] < bound)),
            last_healthy_step=last_healthy(layers.steps, onset),
            text=(
                f"From step {step} on the gradient of the first layer {name!r} is {value:.2g} times "
                f"that of the last, {layers.columns[-1]!r}."
            ),
        ),
        why="The layers nearest the input hardly move: depth is there, but it does not learn.",
        fix=(
            "Use a nonlinearity that does not saturate, an initialisation that keeps the signal's size "
            "(He for ReLU, Xavier for tanh), normalisation, or residual connections."
        ),
        confidence=0.8,
        references=(
            "Bengio et al., Learning long-term dependencies with gradient descent is difficult, 1994",
            "Thresholds: Zhang et al., AUTOTRAINER, ICSE 2021",
        ),
    )


@rule("gradient_norm_ratio", "layers/gradient_norm", "network/gradient_norm")
def exploding_gradients(log: Log, *, largest_ratio: float, largest_growth: float) -> Iterator[Finding]:
    """Gradients that grow from the last layer to the first, or far beyond what they were at the start."""
    network = log.series("gradient_norm", of="network")
    ratio = log.series("gradient_norm_ratio").at(network.steps)[:, 0]
    norm = network.values[:, 0]
    start = norm[:5][norm[:5] > 0]
    # Infinite from the start on, a gradient has not grown: it is NaN times what it was.
    with np.errstate(invalid="ignore"):
        growth = norm / np.median(start) if start.size else np.zeros_like(norm)
    candidates = [_first_lasting(ratio, largest_ratio), _first_lasting(growth, largest_growth)]
    outcome = Outcome.of(log)
    for series, values, limit, onset in zip(
        ("gradient_norm_ratio", "gradient_norm"),
        (ratio, growth),
        (largest_ratio, largest_growth),
        candidates,
        strict=True,
    ):
        if onset is None:
            continue
        step = int(network.steps[onset])
        is_hurt = outcome is not None and (outcome.has_learned_little() or outcome.is_hurt_after(step))
        largest = float(np.nanmax(values[onset:]))
        against = "that of the last layer" if series == "gradient_norm_ratio" else "its size at the start"
        yield Finding(
            rule="exploding_gradients",
            severity="fault" if is_hurt else "note",
            layer=_trained_layers(log).columns[0] if series == "gradient_norm_ratio" else None,
            onset_step=step,
            evidence=Evidence(
                series=series,
                value=largest,
                band=f"at most {limit:g} times {against}",
                readings=int(np.count_nonzero(values[onset:] > limit)),
                last_healthy_step=last_healthy(network.steps, onset),
                text=f"From step {step} on the gradient reaches {largest:.3g} times {against}.",
            ),
            why="Steps of such a size throw the weights far away, and single examples decide where.",
            fix="Clip the gradient's norm, lower the learning rate, and check the initialisation's scale.",
            confidence=0.75,
            references=(
                "Pascanu et al., On the difficulty of training recurrent neural networks, 2013",
                "Threshold of 70 across depth: Zhang et al., AUTOTRAINER, ICSE 2021",
            ),
        )
        return


def _trained_layers(log: Log) -> Series:
    """Gradient norms of the layers that have any, in order of execution."""
    series = log.series("gradient_norm", of="layers")
    trained = np.flatnonzero(~np.isnan(series.values).all(axis=0))
    columns = tuple(series.columns[index] for index in trained)
    return Series(series.name, series.axis, series.steps, columns, series.values[:, trained])


def _has_matrix(log: Log, layer: str) -> bool:
    """Whether a layer has a weight matrix; a normalisation's few numbers have a small gradient in health, too."""
    return any(parameter.layer == layer and len(parameter.shape) >= 2 for parameter in log.model.parameters)


def _first_lasting(values: np.ndarray, limit: float) -> int | None:
    """Index of the first of three readings in a row above a limit; what is not a number ends the row."""
    above = values > limit
    runs = np.convolve(above, np.ones(3, int), "valid") == 3
    starts = np.flatnonzero(runs)
    return int(starts[0]) if starts.size else None
