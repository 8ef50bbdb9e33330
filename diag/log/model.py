"""`/model`: who speaks in a log, as columns of text that any HDF5 viewer shows.

Shapes, lists of names and hyperparameters stand as JSON in their cells.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from diag.events import Criterion, Layer, Model, Optimizer, Parameter
from diag.log.plain import as_plain
from diag.log.schema import add
from diag.log.text import cells, texts_of


def write_model(group: Any, model: Model) -> None:
    """Creates the tables of a model.

    Args:
        group: An empty HDF5 group.
        model: Hyperparameters may be anything; what JSON cannot carry is kept as its ``str``.
    """
    layers, parameters, optimizers = model.layers, model.parameters, model.optimizers
    _add_texts(group, "layer", "layer", [layer.name for layer in layers])
    _add_texts(group, "layer_kind", "layer", [layer.kind for layer in layers])
    _add_texts(group, "layer_output_shape", "layer", [_json(layer.output_shape) for layer in layers])
    _add_texts(group, "layer_parameters", "layer", [_json(layer.parameters) for layer in layers])
    _add_texts(group, "parameter", "parameter", [parameter.name for parameter in parameters])
    _add_texts(group, "parameter_layer", "parameter", [parameter.layer for parameter in parameters])
    _add_texts(group, "parameter_shape", "parameter", [_json(parameter.shape) for parameter in parameters])
    trained = np.array([parameter.is_trained for parameter in parameters], np.int8)
    add(group, "parameter_is_trained", trained, ("parameter",))
    shards = np.array([parameter.shards for parameter in parameters], np.int32)
    add(group, "parameter_shards", shards, ("parameter",))
    requires_grad = np.array([parameter.requires_grad for parameter in parameters], np.int8)
    add(group, "parameter_requires_grad", requires_grad, ("parameter",))
    uniform = np.array([parameter.is_uniform for parameter in parameters], np.int8)
    add(group, "parameter_is_uniform", uniform, ("parameter",))
    _add_texts(group, "optimizer", "optimizer", [optimizer.name for optimizer in optimizers])
    _add_texts(group, "optimizer_kind", "optimizer", [optimizer.kind for optimizer in optimizers])
    hyperparameters = [_json(optimizer.hyperparameters) for optimizer in optimizers]
    _add_texts(group, "optimizer_hyperparameters", "optimizer", hyperparameters)
    _add_texts(group, "criterion", "criterion", [criterion.name for criterion in model.criteria])
    _add_texts(group, "criterion_kind", "criterion", [criterion.kind for criterion in model.criteria])
    reductions = [criterion.reduction for criterion in model.criteria]
    _add_texts(group, "criterion_reduction", "criterion", reductions)


def read_model(group: Any) -> Model:
    """The model that `write_model` wrote.

    Args:
        group: The HDF5 group.

    Returns:
        An equal model, but for sequences among the hyperparameters: they come back as tuples.
    """
    return Model(
        tuple(_layers(group)), tuple(_parameters(group)), tuple(_optimizers(group)), tuple(_criteria(group))
    )


def _layers(group: Any) -> list[Layer]:
    columns = _texts(group, "layer", "layer_kind", "layer_output_shape", "layer_parameters")
    return [Layer(name, kind, _tuple(shape), _tuple(own)) for name, kind, shape, own in columns]


def _parameters(group: Any) -> list[Parameter]:
    columns = _texts(group, "parameter", "parameter_layer", "parameter_shape")
    trained = group["parameter_is_trained"][()]
    # Logs of before there were any do not have these.
    shards, asking, uniform = (
        group[name][()] if name in group else np.full(len(trained), default)
        for name, default in (
            ("parameter_shards", 1),
            ("parameter_requires_grad", 1),
            ("parameter_is_uniform", 0),
        )
    )
    return [
        Parameter(name, layer, _tuple(shape), bool(moves), int(count), bool(asks), bool(is_uniform))
        for (name, layer, shape), moves, count, asks, is_uniform in zip(
            columns, trained, shards, asking, uniform, strict=True
        )
    ]


def _optimizers(group: Any) -> list[Optimizer]:
    columns = _texts(group, "optimizer", "optimizer_kind", "optimizer_hyperparameters")
    return [Optimizer(name, kind, _with_tuples(json.loads(text))) for name, kind, text in columns]


def _criteria(group: Any) -> list[Criterion]:
    # Nor these.
    if "criterion" not in group:
        return []
    return [
        Criterion(*columns) for columns in _texts(group, "criterion", "criterion_kind", "criterion_reduction")
    ]


def _add_texts(group: Any, name: str, scale: str, texts: Sequence[str]) -> None:
    add(group, name, cells(texts), (scale,))


def _texts(group: Any, *names: str) -> list[tuple[str, ...]]:
    return list(zip(*(texts_of(group[name][()]) for name in names), strict=True))


def _json(value: object) -> str:
    return json.dumps(as_plain(value), ensure_ascii=False)


def _tuple(text: str) -> tuple[Any, ...]:
    return tuple(json.loads(text))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
