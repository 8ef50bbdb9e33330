"""What a network is made of: shapes, parameters and operations, layer by layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scratchnet.flops import flops
from scratchnet.nn.module import Module
from scratchnet.tape import no_grad
from scratchnet.undisturbed import undisturbed

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One module of a network.

    Attributes:
        name: Its dotted name; empty for the network itself.
        kind: Its class.
        input_shapes: Shapes of the arrays that it was given first; none where it was not called.
        output_shapes: Shapes of the arrays that it gave back then.
        parameters: Elements of its own parameters, without those of a module below it and without those
            that an earlier row has counted.
        flops: Operations that it did itself in all its calls; None where its kind has no rule.
        calls: How often it was called.
    """

    name: str
    kind: str
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    parameters: int
    flops: int | None
    calls: int


@dataclass(frozen=True)
class Summary:
    """A network at a glance; as text it is a table.

    Attributes:
        rows: One for each module, in the order of their names in the network.
        parameters: Elements of all parameters, each counted once however often it is used.
        trainable_parameters: Those of them that require a gradient.
        flops: Operations of a forward pass in evaluation mode, as far as the kinds have rules.
        is_lower_bound: Whether some kind has none, so that there are more operations than ``flops``.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable_parameters: int
    flops: int
    is_lower_bound: bool

    def to_json(self) -> dict[str, Any]:
        """The same as plain lists, dictionaries, texts and numbers."""
        plain = asdict(self)
        for row in plain["rows"]:
            row["input_shapes"] = [list(shape) for shape in row["input_shapes"]]
            row["output_shapes"] = [list(shape) for shape in row["output_shapes"]]
        return {**plain, "rows": list(plain["rows"])}

    def __str__(self) -> str:
        return _table(self)


def summary(model: Module, *inputs: Any) -> Summary:
    """Runs a network once, in evaluation mode and without recording, and says what each module did.

    The network is left as it was: its modes, buffers, listeners (who do not hear of this run) and the state
    of its random generators. How operations are counted is told in `scratchnet.flops`.

    Args:
        model: The network.
        *inputs: What it is called with: arrays or tensors, of the batch size that is of interest.

    Returns:
        A `Summary`; print it.

    Example:
        >>> from scratchnet import nn
        >>> model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.ReLU(), nn.Linear(8, 2, rng=1))
        >>> print(summary(model, np.zeros((16, 4))))
        name    kind        input    output   parameters  FLOPs
        (root)  Sequential  (16, 4)  (16, 2)           0      0
        0       Linear      (16, 4)  (16, 8)          40  1,024
        1       ReLU        (16, 8)  (16, 8)           0    128
        2       Linear      (16, 8)  (16, 2)          18    512
        total                                         58  1,664
    """
    calls: dict[Module, list[Row]] = {}

    def note(module: Module, given: tuple[Any, ...], output: Any) -> None:
        count = flops(module, given, output)
        kind = type(module).__name__
        calls.setdefault(module, []).append(Row("", kind, _shapes(given), _shapes(output), 0, count, 1))

    with undisturbed(model), no_grad():
        model.eval()
        for module in model.modules():
            module.register_forward_hook(note)
        model(*inputs)
    return _summed(model, calls)


def _summed(model: Module, calls: dict[Module, list[Row]]) -> Summary:
    counted: set[Any] = set()
    rows = []
    for name, module in model.named_modules():
        own = {parameter for _, parameter in module.named_parameters(recurse=False)} - counted
        counted |= own
        rows.append(_row(name, module, calls.get(module, []), sum(parameter.size for parameter in own)))
    known = [row.flops for row in rows if row.flops is not None]
    return Summary(
        rows=tuple(rows),
        parameters=sum(parameter.size for parameter in counted),
        trainable_parameters=sum(parameter.size for parameter in counted if parameter.requires_grad),
        flops=sum(known),
        is_lower_bound=len(known) < len(rows),
    )


def _row(name: str, module: Module, calls: list[Row], parameters: int) -> Row:
    kind = type(module).__name__
    if not calls:
        return Row(name, kind, (), (), parameters, 0, 0)
    counts = [call.flops for call in calls]
    known = [count for count in counts if count is not None]
    total = sum(known) if len(known) == len(counts) else None
    return Row(name, kind, calls[0].input_shapes, calls[0].output_shapes, parameters, total, len(calls))


def _shapes(value: Any) -> tuple[Shape, ...]:
    """Shapes of all arrays and tensors in it, however they are nested."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return tuple(shape for part in value for shape in _shapes(part))
    return (tuple(value.shape),) if hasattr(value, "shape") else ()


# --------------------------------------------------------------------------------------- as a table


def _table(found: Summary) -> str:
    bound = "≥ " if found.is_lower_bound else ""
    lines = [
        ("name", "kind", "input", "output", "parameters", "FLOPs"),
        *(_cells(row) for row in found.rows),
        ("total", "", "", "", f"{found.parameters:,}", f"{bound}{found.flops:,}"),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(_padded(line, widths)).rstrip() for line in lines]
    frozen = found.parameters - found.trainable_parameters
    if frozen:
        text.append(f"{frozen:,} of the parameters are frozen.")
    if found.is_lower_bound:
        text.append("Kinds marked - have no rule for FLOPs: the total is a lower bound.")
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name or "(root)",
        row.kind + (f" ×{row.calls}" if row.calls > 1 else ""),
        ", ".join(map(str, row.input_shapes)) or "-",
        ", ".join(map(str, row.output_shapes)) or "-",
        f"{row.parameters:,}",
        "-" if row.flops is None else f"{row.flops:,}",
    )


def _padded(cells: tuple[str, ...], widths: list[int]) -> list[str]:
    """Texts to the left, numbers to the right."""
    numbers = len(cells) - 2
    return [
        cell.rjust(width) if column >= numbers else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
