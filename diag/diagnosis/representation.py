"""What layers make of a fixed batch: how far apart examples stay, what depth adds, where attention looks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding
from diag.diagnosis.outcome import LOSSES
from diag.diagnosis.persistence import first_lasting, lasting
from diag.diagnosis.rules import rule
from diag.diagnosis.task import class_count, head_of, is_impaired
from diag.log import Log, Series

# The last so many looks must agree on a state.
LEAST_LOOKS = 3


@rule("activation_effective_rank", LOSSES)
def rank_collapse(log: Log, *, least_left: float, least_directions: float) -> Iterator[Finding]:
    """Layers in which examples differ along hardly any direction any more, fewer than the task needs."""
    ranks = _hidden(log, log.series("activation_effective_rank").known())
    if not len(ranks.columns):
        return
    classes = class_count(log)
    needed = least_directions if classes is None else classes - 1
    # All examples alike have no direction at all, and so no number.
    values = np.nan_to_num(ranks.values, nan=0.0)
    has_fallen = (values <= least_left * values[0]) & (values < needed)
    has_begun_low = (values < min(needed, least_directions)) & (values[:, :1] >= 2 * least_directions)
    found = first_lasting(has_fallen | has_begun_low, ranks.steps)
    if found is None:
        return
    spell, place, count = found
    layer, value = ranks.columns[place], float(values[-1, place])
    yield Finding(
        rule="rank_collapse",
        severity="fault" if is_impaired(log, spell.step) else "note",
        layer=layer,
        onset_step=spell.step,
        evidence=Evidence(
            series="activation_effective_rank",
            value=value,
            band=f"at least {needed:g} directions, or more than {least_left:g} of the first look's",
            readings=spell.readings,
            last_healthy_step=spell.last_healthy_step,
            text=(
                f"On the probe batch the output of layer {layer!r} spreads along {value:.3g} directions in the end, "
                f"{values[0, place]:.3g} at the first look; {count} of {len(ranks.columns)} hidden layers are so."
            ),
        ),
        why="What a layer maps to one place no later layer can tell apart.",
        fix=(
            "Keep the signal's size from layer to layer (initialisation, normalisation, residual connections), "
            "and look for dead units, a learning rate that is too high, or too much weight decay."
        ),
        confidence=0.65,
        references=(
            "Roy and Vetterli, The effective rank, EUSIPCO 2007",
            "Share of the first: torchmortem 2026",
        ),
    )


@rule("within_class_variability", "class_mean_simplex_deviation", "nearest_centre_agreement", LOSSES)
def neural_collapse(
    log: Log, *, largest_variability: float, largest_deviation: float, least_agreement: float
) -> Iterator[Finding]:
    """A state, no fault: each class has become one point, and the points are as far apart as they can be."""
    variability = log.series("within_class_variability").known()
    others = ("class_mean_simplex_deviation", "nearest_centre_agreement")
    deviation, agreement = (log.series(name).at(variability.steps)[:, 0] for name in others)
    within = variability.values[:, 0]
    is_collapsed = (
        (within <= largest_variability) & (deviation <= largest_deviation) & (agreement >= least_agreement)
    )
    spell = lasting(is_collapsed, variability.steps, LEAST_LOOKS)
    if spell is None or is_impaired(log):
        return
    yield Finding(
        rule="neural_collapse",
        severity="note",
        layer=None,
        onset_step=spell.step,
        evidence=Evidence(
            series="within_class_variability",
            value=float(within[-1]),
            band="a state, no fault",
            readings=spell.readings,
            last_healthy_step=spell.last_healthy_step,
            text=(
                f"Since step {spell.step} examples of a class lie together ({within[-1]:.2g} of what lies between "
                f"classes), and the classes' cosines are within {deviation[-1]:.2g} of those of a simplex."
            ),
        ),
        why="A classifier that trains on once it makes no mistakes ends so: one direction less than classes is left.",
        fix="Nothing. To use the features for another task, take those of an earlier step or of an earlier layer.",
        confidence=0.8,
        references=("Papyan, Han and Donoho, Prevalence of neural collapse, PNAS 2020, arXiv:2008.08186",),
    )


@rule("debiased_linear_cka", LOSSES)
def redundant_depth(log: Log, *, least_similarity: float, least_layers: float) -> Iterator[Finding]:
    """Layers in a row that all tell the examples apart in the same way as the layer before."""
    similarity = _hidden(log, log.series("debiased_linear_cka").known())
    is_alike = np.asarray(similarity.values > least_similarity)
    runs = _runs(np.all(is_alike[-LEAST_LOOKS:], axis=0)) if len(similarity.steps) >= LEAST_LOOKS else []
    longest = max(runs, key=len, default=range(0))
    if len(longest) < least_layers:
        return
    spell = lasting(np.all(is_alike[:, list(longest)], axis=1), similarity.steps)
    if spell is None:
        return
    layers = [similarity.columns[place] for place in longest]
    value = float(similarity.values[-1, list(longest)].min())
    yield Finding(
        rule="redundant_depth",
        severity="note",
        layer=layers[0],
        onset_step=spell.step,
        evidence=Evidence(
            series="debiased_linear_cka",
            value=value,
            band=f"at most {least_similarity:g} in {least_layers:g} layers in a row",
            readings=spell.readings,
            last_healthy_step=spell.last_healthy_step,
            text=(
                f"The {len(layers)} layers from {layers[0]!r} to {layers[-1]!r} each represent the probe batch as the "
                f"layer before does, with a similarity of {value:.3g} or more."
            ),
        ),
        why="These layers cost time and memory, and what they add to the layer before is next to nothing.",
        fix="Try the network without some of them. Layers along residual connections are alike by construction.",
        confidence=0.5,
        references=(
            "Kornblith et al., Similarity of Neural Network Representations Revisited, 2019, arXiv:1905.00414",
            "Nguyen et al., Do Wide and Deep Networks Learn the Same Things?, 2021, arXiv:2010.15327",
        ),
    )


@rule("attention_entropy", "attention_keys", LOSSES)
def attention_collapse(log: Log, *, least_entropy: float) -> Iterator[Finding]:
    """Attention most of whose heads look at one position only, in a training that fails."""
    entropy = log.series("attention_entropy").known()
    keys = log.series("attention_keys").at(entropy.steps)
    # A single key leaves nothing to choose: 0 over 0 is no number, and so no symptom.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = entropy.values / np.log(keys)
    found = first_lasting(share < least_entropy, entropy.steps)
    if found is None:
        return
    spell, place, count = found
    layer, value = entropy.columns[place], float(share[-1, place])
    yield Finding(
        rule="attention_collapse",
        severity="fault" if is_impaired(log, spell.step) else "note",
        layer=layer,
        onset_step=spell.step,
        evidence=Evidence(
            series="attention_entropy",
            value=value,
            band=f"at least {least_entropy:g} of that of an even look",
            readings=spell.readings,
            last_healthy_step=spell.last_healthy_step,
            text=(
                f"Since step {spell.step} the middle head of {layer!r} has {value:.2g} of the entropy that looking at "
                f"all keys alike would have{_largest_logit(log, layer)}; so it is in {count} attention layers."
            ),
        ),
        why="Attention that has become a hard choice passes hardly any gradient back to queries and keys.",
        fix="Normalise queries and keys before their product (QK-norm), lower the learning rate, or warm it up.",
        confidence=0.7,
        references=(
            "Zhai et al., Stabilizing Transformer Training by Preventing Attention Entropy Collapse, 2023, "
            "arXiv:2303.06296",
        ),
    )


def _largest_logit(log: Log, layer: str) -> str:
    if "largest_attention_logit" not in log:
        return ""
    value = log.series("largest_attention_logit").known().column(layer)[-1]
    return f", with a logit of up to {value:.3g}" if np.isfinite(value) else ""


def _hidden(log: Log, series: Series) -> Series:
    """A series of layers without the head and without those that have no number, in order of execution."""
    head = head_of(log)
    chosen = [
        place
        for place, name in enumerate(series.columns)
        if np.isfinite(series.values[:, place]).any() and (head is None or name != head.name)
    ]
    columns = tuple(series.columns[place] for place in chosen)
    return Series(series.name, series.axis, series.steps, columns, series.values[:, chosen])


def _runs(mask: NDArray[np.bool_]) -> list[range]:
    """Runs of true entries.

    Example:
        >>> _runs(np.array([True, True, False, True]))
        [range(0, 2), range(3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
    return [range(start, end) for start, end in edges.reshape(-1, 2).tolist()]
