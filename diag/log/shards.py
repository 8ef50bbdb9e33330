"""Parameters that are spread over the ranks: the whole put together from what each rank measured of its part.

A rank computes norms of what lies on it, without asking the others, so that none waits for one that is gone.
The squares of the norms add up to that of the whole.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diag.events import Model
from diag.log.one_rank import RankLog, side_by_side
from diag.log.series import Series

Numbers = NDArray[np.float64]

_NORMS: Final = ("weight_norm", "update_norm", "gradient_norm")
_OF_GRADIENTS: Final = ("gradient_norm", "gradient_norm_ratio", "gradient_norm_before_clipping")


def is_spread(model: Model, name: str, table: str) -> bool:
    """Whether a series is of parameters of which some are spread over the ranks."""
    if not any(parameter.shards > 1 for parameter in model.parameters):
        return False
    return table == "parameters" or (
        table in ("layers", "network") and name.rpartition(".")[2] in _OF_GRADIENTS
    )


def whole(ranks: Sequence[RankLog], name: str, table: str, world_size: int) -> Series:
    """A series of parameters, some of which are spread.

    Args:
        ranks: Those that can be read.
        name: Of the series.
        table: Where it stands.
        world_size: How many ranks there were.

    Returns:
        The steps of the first rank. NaN where a rank is not there to say what its part is, and for measures
        of spread parameters whose parts do not add up.
    """
    series = ranks[0].series(name, table)
    if table == "parameters":
        return replace(series, values=_of_parameters(ranks, name, series, world_size))
    gradients = ranks[0].series("gradient_norm", "parameters")
    norms = replace(gradients, values=_of_parameters(ranks, "gradient_norm", gradients, world_size))
    if table == "layers":
        return replace(series, values=_of_layers(ranks[0].model, norms, series.columns))
    return replace(series, values=_of_network(ranks[0].model, norms, name))


def _of_parameters(ranks: Sequence[RankLog], name: str, first: Series, world_size: int) -> Numbers:
    if name == "update_ratio":
        update, weight = (
            _of_parameters(ranks, norm, ranks[0].series(norm, "parameters"), world_size)
            for norm in ("update_norm", "weight_norm")
        )
        with np.errstate(all="ignore"):
            return update / np.where(weight == 0, np.nan, weight)
    shards = {parameter.name: parameter.shards for parameter in ranks[0].model.parameters}
    counts = np.array([shards.get(column, 1) for column in first.columns])
    # Where parts lie on several ranks each, every entry was measured that many times.
    times = world_size / counts
    if len(ranks) < world_size:
        together = np.full_like(first.values, np.nan)
    elif name in _NORMS:
        together = np.hypot.reduce(side_by_side(ranks, first).filled(np.nan), axis=0) / np.sqrt(times)
    elif name.endswith("_count"):
        together = side_by_side(ranks, first).filled(np.nan).sum(axis=0) / times
    else:
        together = np.full_like(first.values, np.nan)
    return np.where(counts > 1, together, first.values)


def _of_layers(model: Model, norms: Series, layers: Sequence[str]) -> Numbers:
    owned = {layer.name: layer.parameters for layer in model.layers}
    return np.stack([_combined(norms, owned.get(layer, ())) for layer in layers], axis=1)


def _of_network(model: Model, norms: Series, name: str) -> Numbers:
    pair = name.rpartition(".")[0]
    others = tuple(f"{optimizer.name}." for optimizer in model.optimizers if optimizer.name not in ("", pair))
    own = [
        each
        for each in norms.columns
        if (each.startswith(f"{pair}.") if pair else not each.startswith(others))
    ]
    if name.endswith("gradient_norm"):
        return _combined(norms, own)[:, np.newaxis]
    if not name.endswith("gradient_norm_ratio"):
        return np.full((len(norms.steps), 1), np.nan)
    layers = [layer.name for layer in model.layers if set(layer.parameters) & set(own)]
    of_layers = _of_layers(model, norms, layers)
    of_layers = of_layers[:, ~np.isnan(of_layers).all(axis=0)]
    with np.errstate(all="ignore"):
        return (
            (of_layers[:, :1] / of_layers[:, -1:])
            if of_layers.size
            else np.full((len(norms.steps), 1), np.nan)
        )


def _combined(norms: Series, names: Sequence[str]) -> Any:
    """The norm of several parameters together; those that never had a gradient count for nothing."""
    places = [place for place, column in enumerate(norms.columns) if column in names]
    values = norms.values[:, places]
    values = values[:, ~np.isnan(values).all(axis=0)]
    return np.hypot.reduce(values, axis=1) if values.size else np.full(len(norms.steps), np.nan)
