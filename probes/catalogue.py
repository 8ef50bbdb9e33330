"""The catalogue of probes: a decorator registers a function together with what a reader must know of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

Food: TypeAlias = Literal[
    "activation",
    "output_gradient",
    "weight",
    "gradient",
    "update",
    "array",
    "matrix",
    "limits",
    "norms",
    "labels",
    "bias",
    "slope",
    "attention",
    "attention_logits",
    "gradients",
    "example_gradients",
    "example_products",
    "batch_sizes",
    "learning_rate",
    "hvp",
    "loss",
    "weights",
    "direction",
    "distances",
]
Eats: TypeAlias = Food | tuple[Food, ...]
Cost: TypeAlias = Literal["free", "cheap", "dear"]

Measure = TypeVar("Measure", bound=Callable[..., Any])

# Filled while modules are imported, as definitions are; nothing in it changes while a run goes on.
_REGISTRY: dict[str, "Probe"] = {}


@dataclass(frozen=True)
class Probe:
    """A registered measure.

    Attributes:
        name: The function's own name, which is also the name of the series, of its tag and of its column.
        function: The function, as it was written.
        unit: What the number counts, as an axis says it: ``"fraction of units"``; ``"1"`` for a pure number.
        eats: What it takes. The name of one event (``"activation"``, ``"output_gradient"``, ``"weight"``,
            ``"gradient"``, ``"update"``) says: one such array in, one 0-d number out, so that it can be
            recorded as it is for every layer or parameter. A tuple names several arguments in their
            order, and ``"array"`` (any one array), ``"matrix"``, ``"limits"`` (two numbers), ``"norms"`` (a
            1-D array of norms), ``"labels"`` (the class of each example), ``"bias"`` (of the weight before
            it), ``"slope"`` (of a nonlinearity, an entry each), ``"attention"`` and ``"attention_logits"``
            (after and before the softmax), ``"gradients"`` (of all tensors, a list),
            ``"example_gradients"`` (of one tensor, an example a row), ``"example_products"`` (an
            `ExampleProducts`), ``"batch_sizes"`` (of the norms before them), ``"learning_rate"``, ``"hvp"``
            (a Hessian-vector product), ``"loss"`` (as a function of the weights), ``"weights"`` (of all
            tensors, a list), ``"direction"`` (such a list, or two) and ``"distances"`` (along it) name what
            only a caller that knows it can give.
        cost: ``"free"`` reads numbers that are there already; ``"cheap"`` goes over its arrays a few times,
            much less than the layer's own work; ``"dear"`` runs the model again or decomposes a matrix.
        source: The reference of the definition.
    """

    name: str
    function: Callable[..., Any]
    unit: str
    eats: Eats
    cost: Cost
    source: str

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a probe needs a function with a name, got {self.name!r}; define it with def")
        foods = self.eats if isinstance(self.eats, tuple) else (self.eats,)
        for food in foods or ("",):
            self._check("eats", food, get_args(Food))
        self._check("cost", self.cost, get_args(Cost))
        if not (self.unit and self.source):
            raise ValueError(
                f"probe {self.name!r} needs a unit and a source, got unit={self.unit!r} and "
                f'source={self.source!r}; write unit="1" for a pure number and name your own work as source'
            )

    def _check(self, field: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise ValueError(
                f"probe {self.name!r} has an unknown {field}: got {value!r}; use one of {', '.join(known)}"
            )


def probe(*, unit: str, eats: Eats, cost: Cost, source: str) -> Callable[[Measure], Measure]:
    """Register a function as a probe; the function itself stays as it is.

    A new measure is one decorated function, in any module::

        @probe(unit="activation", eats="activation", cost="cheap", source="our own")
        def activation_peak(activation):
            "Largest entry of the activation."
            return activation.max()

    Running the same definition again, as in a notebook, replaces the old one.

    Args:
        unit: What the number counts; ``"1"`` for a pure number.
        eats: What it takes; see `Probe`.
        cost: ``"free"``, ``"cheap"`` or ``"dear"``; see `Probe`.
        source: Where the definition comes from.

    Returns:
        A decorator that gives back the function that it is given.

    Raises:
        ValueError: If ``eats`` or ``cost`` is unknown, ``unit`` or ``source`` is empty, or another function
            is registered under the same name.
    """

    def register(function: Measure) -> Measure:
        entry = Probe(function.__name__, function, unit, eats, cost, source)
        held = _REGISTRY.get(entry.name)
        if held is not None and _home(held.function) != _home(function):
            raise ValueError(
                f"probe names must differ, got {entry.name!r} from {_home(function)} although "
                f"{_home(held.function)} has it already; rename the new function"
            )
        _REGISTRY[entry.name] = entry
        return function

    return register


def probe_of(function: Callable[..., Any]) -> Probe:
    """The catalogue's entry of a registered function.

    Raises:
        ValueError: If the function is not registered, or has been replaced by a later definition.
    """
    name = getattr(function, "__name__", repr(function))
    entry = _REGISTRY.get(name)
    if entry is None or entry.function is not function:
        raise ValueError(
            f"probe_of needs a registered function, got {name}; decorate it with @probes.probe(...)"
        )
    return entry


def catalogue() -> tuple[Probe, ...]:
    """Every registered probe, sorted by name."""
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def _home(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
