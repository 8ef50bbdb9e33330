"""Faults of the loop, which most operator sets do not cover."""

from typing import Any

from benchmarks.faults.operators.operator import Operator, is_classifier, is_sgd
from benchmarks.faults.program import Program

TRAINCHECK = "loop (TrainCheck)"


def _loop(field: str) -> Any:
    """An injection that gives the dose to a field of the loop."""
    return lambda program, dose: program.but("loop", **{field: dose})


def layer_names(program: Program) -> list[str]:
    """Names of the layers with weights, in the order of the model."""
    start = {"recurrent": ["cell.recurrent"], "transformer": ["embedding"]}.get(
        program.network.architecture, []
    )
    return [*start, *(f"hidden{block}" for block in range(1, program.network.depth + 1)), "head"]


def _share_of_layers(field: str) -> Any:
    """An injection into the leading layers: the first, half of them, or all but the head."""

    def inject(program: Program, dose: str) -> Program:
        count = len(layer_names(program)) - 1
        if program.network.architecture == "transformer":
            # A layer of an encoder has four weight matrices, and the positions are a layer, too.
            count = 2 + 4 * program.network.depth
        return program.but("loop", **{field: {"first": 1, "half": (count + 1) // 2, "all": count}[dose]})

    return inject


def _cut(program: Program, dose: str) -> Program:
    depth = program.network.depth
    return program.but("network", cut={"first": 1, "half": (depth + 1) // 2, "all": depth}[dose])


def _of_first(program: Program, _dose: Any) -> tuple[str, ...]:
    return (layer_names(program)[0],)


def _validated_in_training(program: Program, dropout: float) -> Program:
    return program.but("network", dropout=dropout).but("loop", validates_in="train")


def _sum(program: Program, batch: int) -> Program:
    return program.but("loop", reduction="sum", batch=batch)


def _has_no_batch_norm(program: Program) -> bool:
    """One example has no variance: with batch normalisation the training would not run at all."""
    return program.network.norm != "batch"


OPERATORS = (
    Operator("no zero_grad", (2, 12, 0), _loop("zero_every"), TRAINCHECK),
    Operator(
        "optimiser misses layers",
        ("first", "half", "all"),
        _share_of_layers("left_out"),
        TRAINCHECK,
        layers=_of_first,
    ),
    Operator(
        "layers frozen", ("first", "half", "all"), _share_of_layers("frozen"), TRAINCHECK, layers=_of_first
    ),
    Operator("graph cut", ("first", "half", "all"), _cut, TRAINCHECK, layers=_of_first),
    Operator(
        "evaluation mode left on",
        (0.95, 0.3, 0.0),
        _loop("evaluating_from"),
        TRAINCHECK,
        lambda program: program.network.norm == "batch" or program.network.dropout > 0,
    ),
    Operator("validated in training mode", (0.05, 0.3, 0.6), _validated_in_training, TRAINCHECK),
    Operator("sign flipped", (0.1, 0.4, 1.0), _loop("flipped"), "TheDeepChecker: sign flip"),
    Operator("sum instead of mean", (2, 32, 128), _sum, "TheDeepChecker: reduction", is_sgd),
    Operator("the same batches again", (12, 3, 1), _loop("batches"), "loop: the loader is made anew"),
    Operator("batch too small", (16, 4, 1), _loop("batch"), "DeepCrime HBS", _has_no_batch_norm),
    Operator("batching disabled", (64, 128, 0), _loop("batch"), "DeepCrime HDB"),
    Operator("too few steps", (200, 40, 8), _loop("steps"), "DeepCrime HNE"),
    Operator(
        "another loss",
        ("CrossEntropyLoss", "one-hot MSELoss", "one-hot L1Loss"),
        _loop("criterion"),
        "DeepCrime LCH",
        is_classifier,
    ),
)
