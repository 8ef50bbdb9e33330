"""Losses: every reduction, weights, ignored examples, targets of all kinds."""

import importlib
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, distinct, integers, normal, positive

REDUCTIONS = ("mean", "sum", "none")
WEIGHT = np.array([1.0, 0.5, 2.0, 0.0])


def made(block: str, **options: Any) -> Callable[[Any], Any]:
    """Builds a loss in either library; arrays become tensors in PyTorch's."""

    def make(library: Any) -> Any:
        if library.__name__.startswith("scratchnet"):
            return getattr(library, block)(**options)
        tensor = importlib.import_module("torch").tensor
        return getattr(library, block)(
            **{name: tensor(x) if isinstance(x, np.ndarray) else x for name, x in options.items()}
        )

    return make


def loss(
    block: str,
    inputs: Callable[[int], tuple[Array, ...]],
    name: str = "",
    call: Callable[..., Any] = lambda criterion, *inputs: criterion(*inputs),
    hessian: Literal["torch", "differences", "none"] = "torch",
    batches: tuple[int, ...] = (1, 0),
    **options: Any,
) -> Case:
    """A case; training mode is enough, for a loss knows no other."""
    named = [name, *(f"{key} {x}" for key, x in options.items() if not isinstance(x, np.ndarray))]
    label = ", ".join(part for part in named if part)
    return Case(
        block, made(block, **options), inputs, label, call, modes=("train",), hessian=hessian, batches=batches
    )


def each_reduction(block: str, inputs: Callable[[int], tuple[Array, ...]], **rest: Any) -> list[Case]:
    return [loss(block, inputs, reduction=reduction, **rest) for reduction in REDUCTIONS]


def probabilities(*shape: int, seed: int = 0) -> Array:
    """Positive, of sum one along the second axis."""
    x = positive(*shape, seed=seed)
    return np.asarray(x / x.sum(axis=1, keepdims=True))


def inside(*shape: int, seed: int = 0) -> Array:
    """Numbers in [0.1, 0.9)."""
    return (positive(*shape, seed=seed) - 0.5) * (0.8 / 1.5) + 0.1


def signs(*shape: int, seed: int = 0) -> Array:
    """1 or −1, integers."""
    return 2 * integers(2, *shape, seed=seed) - 1


def without_warning(criterion: Any, *inputs: Any) -> Any:
    """PyTorch warns of the reduction "mean" of a divergence."""
    with warnings.catch_warnings(action="ignore"):
        return criterion(*inputs)


# ---------------------------------------------------------------------------------------- class numbers


def labelled(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4), integers(4, batch)


def partly_ignored(batch: int) -> tuple[Array, ...]:
    labels = integers(4, batch, 2)
    labels[:, 1] = -100
    return normal(batch, 4, 2), labels


def images(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4, 2, 3), integers(4, batch, 2, 3)


def of_one_example(_batch: int) -> tuple[Array, ...]:
    return normal(4), np.array(2)


def soft(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4), probabilities(batch, 4)


def soft_sequences(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4, 2), probabilities(batch, 4, 2)


CROSS_ENTROPIES = [
    *each_reduction("CrossEntropyLoss", labelled),
    *each_reduction("CrossEntropyLoss", labelled, name="weight", weight=WEIGHT),
    loss("CrossEntropyLoss", labelled, label_smoothing=0.3),
    loss("CrossEntropyLoss", labelled, reduction="none", label_smoothing=1.0),
    loss("CrossEntropyLoss", images, "images, weight", weight=WEIGHT, label_smoothing=0.1),
    *each_reduction("CrossEntropyLoss", images, name="images", ignore_index=1),
    loss("CrossEntropyLoss", partly_ignored, "partly ignored"),
    loss("CrossEntropyLoss", partly_ignored, "partly ignored, weight", weight=WEIGHT, label_smoothing=0.2),
    loss("CrossEntropyLoss", partly_ignored, "partly ignored", label_smoothing=0.2, reduction="none"),
    loss("CrossEntropyLoss", soft, "probabilities"),
    *each_reduction(
        "CrossEntropyLoss", soft, name="probabilities, weight", weight=WEIGHT, label_smoothing=0.2
    ),
    loss("CrossEntropyLoss", soft_sequences, "probabilities of sequences", reduction="none"),
    loss("CrossEntropyLoss", of_one_example, "one example"),
    loss("CrossEntropyLoss", of_one_example, "one example", reduction="none", weight=WEIGHT),
    loss("CrossEntropyLoss", lambda _: (normal(4), inside(4)), "probabilities of one example", weight=WEIGHT),
]
LIKELIHOODS = [
    *each_reduction("NLLLoss", labelled),
    loss("NLLLoss", images, "images, weight", weight=WEIGHT, ignore_index=1),
    loss("NLLLoss", partly_ignored, "partly ignored"),
    loss("NLLLoss", partly_ignored, "partly ignored", reduction="none"),
    loss("NLLLoss", of_one_example, "one example"),
]

# ------------------------------------------------------------------------------------- probabilities


def yes_or_no(batch: int) -> tuple[Array, ...]:
    return inside(batch, 4), inside(batch, 4, seed=1)


def yes_or_no_logits(batch: int) -> tuple[Array, ...]:
    return 3 * normal(batch, 4), inside(batch, 4)


def divergent(batch: int) -> tuple[Array, ...]:
    return -positive(batch, 4), probabilities(batch, 4)


def numbers(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4), normal(batch, 4, seed=1)


def counted(batch: int) -> tuple[Array, ...]:
    return positive(batch, 4), 2 * positive(batch, 4, seed=1)


YES_OR_NO = [
    *each_reduction("BCELoss", yes_or_no),
    loss("BCELoss", yes_or_no, "weight", weight=WEIGHT),
    *each_reduction("BCEWithLogitsLoss", yes_or_no_logits),
    loss("BCEWithLogitsLoss", yes_or_no_logits, "weights", weight=WEIGHT, pos_weight=WEIGHT + 1),
]
DIVERGENCES = [
    loss("KLDivLoss", divergent, call=without_warning, reduction=reduction, log_target=log_target)
    for reduction, log_target in (
        ("mean", False),
        ("batchmean", False),
        ("batchmean", True),
        ("sum", True),
        ("none", False),
    )
]
DENSITIES = [
    *(
        loss("GaussianNLLLoss", inputs, name, full=full, reduction=reduction)
        for name, inputs, full, reduction in (
            ("each variance", lambda batch: (*numbers(batch), positive(batch, 4)), False, "mean"),
            ("a variance an example", lambda batch: (*numbers(batch), positive(batch, 1)), True, "sum"),
            ("no axis of variances", lambda batch: (*numbers(batch), positive(batch)), False, "none"),
        )
    ),
    *(
        loss("PoissonNLLLoss", counted, log_input=log_input, full=full, reduction=reduction)
        for log_input, full, reduction in (
            (True, False, "mean"),
            (False, False, "sum"),
            (True, True, "none"),
            (False, True, "mean"),
        )
    ),
]

# ------------------------------------------------------------------------------------------ distances


DISTANCES = [
    *(
        case
        for block in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
        for case in each_reduction(block, numbers)
    ),
    loss("SmoothL1Loss", numbers, beta=0.4),
    loss("SmoothL1Loss", numbers, beta=0.0),
    loss("HuberLoss", numbers, delta=0.4),
]

# -------------------------------------------------------------------------------------------- margins


def two_vectors(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4), normal(batch, 4, seed=1), signs(batch)


def three_vectors(batch: int) -> tuple[Array, ...]:
    return normal(batch, 4), normal(batch, 4, seed=1), normal(batch, 4, seed=2)


def scored(batch: int) -> tuple[Array, ...]:
    return distinct(batch, 4), integers(4, batch)


MARGINS = [
    *each_reduction("HingeEmbeddingLoss", lambda batch: (positive(batch, 4), signs(batch, 4)), margin=1.2),
    *each_reduction("SoftMarginLoss", lambda batch: (normal(batch, 4), signs(batch, 4))),
    *each_reduction("MarginRankingLoss", three_vectors, margin=0.2),
    loss("MarginRankingLoss", lambda batch: (*numbers(batch), signs(batch, 4)), "integers"),
    *each_reduction("CosineEmbeddingLoss", two_vectors, margin=-0.2),
    loss("CosineEmbeddingLoss", lambda _: (normal(4), normal(4, seed=1), np.array(1)), "one example"),
    *each_reduction("TripletMarginLoss", three_vectors),
    *(loss("TripletMarginLoss", three_vectors, margin=2.0, p=p, swap=True) for p in (1.0, 2.0, 3.0)),
    loss("TripletMarginLoss", lambda _: tuple(normal(4, seed=seed) for seed in range(3)), "one example"),
    # PyTorch's mean of no example is whatever stood in the memory before.
    *(
        loss("MultiMarginLoss", scored, hessian="differences", batches=(1,), p=p, margin=1.1, weight=weight)
        for p, weight in ((1, None), (2, None), (1, WEIGHT))
    ),
    loss("MultiMarginLoss", scored, hessian="differences", margin=1.1, reduction="sum"),
    loss("MultiMarginLoss", scored, hessian="differences", margin=1.1, reduction="none"),
    loss("MultiMarginLoss", of_one_example, "one example", hessian="differences"),
]

# ------------------------------------------------------------------------------------------------ CTC


def log_softmax(x: Any) -> Any:
    return x - x.exp().sum(-1, True).log()


def texts(batch: int) -> tuple[Array, ...]:
    """Six steps or fewer; the first text repeats a letter, the second is empty."""
    labels = integers(3, batch, 3) + 1
    labels[:1, 1:] = labels[:1, :1]
    lengths = np.array([3, 0, 2])[:batch]
    return normal(6, batch, 4), labels, np.array([6, 4, 5])[:batch], lengths


def in_a_row(batch: int) -> tuple[Array, ...]:
    x, labels, steps, lengths = texts(batch)
    return x, labels[np.arange(3) < lengths[:, None]], steps, lengths


def too_long(batch: int) -> tuple[Array, ...]:
    x, _, _, _ = texts(batch)
    return x, np.full((batch, 4), 2), np.full(batch, 6), np.array([4, 3, 4])[:batch]


def through_log_softmax(criterion: Any, x: Any, *rest: Any) -> Any:
    return criterion(log_softmax(x), *rest)


CTC = [
    *each_reduction("CTCLoss", texts, call=through_log_softmax, hessian="differences"),
    loss("CTCLoss", in_a_row, "in a row", through_log_softmax, hessian="differences"),
    loss("CTCLoss", too_long, "", through_log_softmax, hessian="differences", zero_infinity=True),
    loss(
        "CTCLoss",
        lambda batch: (normal(6, batch, 4), integers(3, batch, 2), np.full(batch, 6), np.full(batch, 2)),
        "",
        through_log_softmax,
        hessian="differences",
        blank=3,
    ),
    loss(
        "CTCLoss",
        lambda _: (normal(5, 4), np.array([2, 1]), np.array(5), np.array(2)),
        "one example",
        through_log_softmax,
        hessian="differences",
        reduction="none",
    ),
]

CASES = CROSS_ENTROPIES + LIKELIHOODS + YES_OR_NO + DIVERGENCES + DENSITIES + DISTANCES + MARGINS + CTC
