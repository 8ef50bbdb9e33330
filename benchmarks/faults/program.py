"""What a training program is: one description, which both frameworks run and operators change."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Framework = Literal["scratchnet", "torch"]
Architecture = Literal["mlp", "cnn", "recurrent", "transformer"]


@dataclass(frozen=True)
class Data:
    """A data set, and what is done to it before it is learned.

    Scale and shift are preprocessing and so reach the validation set too; whatever else is wrong is wrong
    in the training set alone, as in DeepCrime: the validation set says what the network is good for.

    Attributes:
        name: See `benchmarks.faults.datasets`.
        scale: Factor of the inputs, which are standardised otherwise.
        shift: Added to the inputs.
        target_scale: Factor of a regression's targets, which are standardised otherwise.
        target_shift: Added to a regression's targets.
        blanked: Share of the features that are zero for every example.
        noise: Standard deviation of what is added to each training input.
        wrong_labels: Share of the training examples with a random label, or with that much noise.
        mispaired: Share of the training examples whose labels are dealt out among each other.
        relabelled: Share of the most frequent class that bears the label of the second.
        rarefied: Share of the examples of every class but the first (of the upper half, in a regression) that
            is left out.
        kept: Share of the training examples that is there.
        broken: Training examples with a NaN.
        sorted_share: Share of the training set that comes sorted by its targets, at every pass.
    """

    name: str
    scale: float = 1.0
    shift: float = 0.0
    target_scale: float = 1.0
    target_shift: float = 0.0
    blanked: float = 0.0
    noise: float = 0.0
    wrong_labels: float = 0.0
    mispaired: float = 0.0
    relabelled: float = 0.0
    rarefied: float = 0.0
    kept: float = 1.0
    broken: int = 0
    sorted_share: float = 0.0


@dataclass(frozen=True)
class Network:
    """A network of one of four architectures.

    Attributes:
        architecture: What the hidden blocks are.
        width: Units, channels, or the model's width.
        depth: Hidden blocks.
        activations: Class names in ``nn``, one for each hidden block; "" for none.
        norm: ``""``, ``"batch"`` or ``"layer"``.
        dropout: After each hidden block.
        residual: Whether blocks that keep their width add what comes in.
        bias: Whether layers have one.
        cell: Of a recurrent network.
        head: Class name in ``nn`` of what follows the last linear layer; "" for nothing.
        has_positions: Whether a transformer is told the positions.
        cut: The hidden block whose output is detached from the graph.
        bottleneck: Width of the middle block; 0 for that of the others.
    """

    architecture: Architecture
    width: int
    depth: int
    activations: tuple[str, ...]
    norm: Literal["", "batch", "layer"] = ""
    dropout: float = 0.0
    residual: bool = False
    bias: bool = True
    cell: str = "LSTM"
    head: str = ""
    has_positions: bool = True
    cut: int | None = None
    bottleneck: int = 0


@dataclass(frozen=True)
class Start:
    """How weights are drawn: normal with a gain over the square root of the inputs, biases zero.

    Attributes:
        gain: Of every weight matrix, over what the architecture is drawn with.
        head_gain: The same of the last linear layer alone.
        attention_gain: The same of what makes queries, keys and values.
        constant: The number that weights have instead; None for drawn ones.
        constant_in: Of which layers: the head's, one hidden block's, or all.
        bias: What the biases of one hidden block start at.
        biased: Which block.
    """

    gain: float = 1.0
    head_gain: float = 1.0
    attention_gain: float = 1.0
    constant: float | None = None
    constant_in: Literal["head", "first", "all"] = "all"
    bias: float = 0.0
    biased: int = 0


@dataclass(frozen=True)
class Descent:
    """Optimiser and schedule.

    Attributes:
        kind: Class name in ``optim``.
        lr: Learning rate.
        options: Further arguments of the optimiser.
        schedule: See `benchmarks.faults.schedules`.
        strength: A number that the schedule may take.
        clip: Largest norm of the gradient; 0 for any.
    """

    kind: str
    lr: float
    options: tuple[tuple[str, Any], ...] = ()
    schedule: str = "constant"
    strength: float = 0.0
    clip: float = 0.0

    def option(self, **changed: Any) -> "Descent":
        """The same with other arguments of the optimiser."""
        return replace(self, options=tuple({**dict(self.options), **changed}.items()))


@dataclass(frozen=True)
class Loop:
    """What happens at each step.

    Attributes:
        steps: How many.
        batch: Examples a step; 0 for all.
        criterion: Class name in ``nn``, or ``"one-hot MSELoss"`` and the like for a loss on one-hot targets.
        reduction: Of the criterion.
        zero_every: Gradients are set to zero before every so many steps; 0 for never.
        flipped: Share of the steps at which the loss is negated.
        evaluating_from: Share of the run from which on the model is in evaluation mode; 1 for never.
        validates_in: Mode of the model when it is validated.
        batches: How many different batches there are; 0 for all.
        frozen: Leading weight layers that need no gradient.
        left_out: Leading weight layers that the optimiser does not know.
        pretrained: Steps of a training before, in which all layers take part; the head is then drawn anew.
    """

    steps: int = 240
    batch: int = 32
    criterion: str = "CrossEntropyLoss"
    reduction: str = "mean"
    zero_every: int = 1
    flipped: float = 0.0
    evaluating_from: float = 1.0
    validates_in: Literal["eval", "train"] = "eval"
    batches: int = 0
    frozen: int = 0
    left_out: int = 0
    pretrained: int = 0


@dataclass(frozen=True)
class Program:
    """A whole training."""

    framework: Framework
    data: Data
    network: Network
    descent: Descent
    loop: Loop
    start: Start = field(default_factory=Start)

    @property
    def family(self) -> str:
        """Architecture and data set, by which the suite is split."""
        return f"{self.network.architecture} on {self.data.name}"

    @property
    def is_classifier(self) -> bool:
        """Whether the loss is one for classes."""
        return self.loop.criterion in CLASS_LOSSES

    def but(self, part: str, **changed: Any) -> "Program":
        """The same program with one part changed: ``program.but("descent", lr=1.0)``."""
        return replace(self, **{part: replace(getattr(self, part), **changed)})


CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss", "one-hot MSELoss", "one-hot L1Loss")
