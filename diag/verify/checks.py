"""What came of an experiment, and how it is told."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from diag.diagnosis.findings import plain_number

Verdict = Literal["confirmed", "refuted", "undecided"]


@dataclass(frozen=True)
class Check:
    """A claim about a training, put to the test.

    Attributes:
        experiment: Name of the experiment, such as ``"zeroed_input"``.
        claim: What it put to the test: that something is wrong.
        verdict: ``"confirmed"`` (it is wrong), ``"refuted"`` (it is not) or ``"undecided"``.
        numbers: What was measured, by name.
        text: The same as a sentence.
        meaning: What follows from it.
        rules: The rules whose findings it bears on; where a diagnosis was given, those that it names.
        source: Where the experiment comes from.
    """

    experiment: str
    claim: str
    verdict: Verdict
    numbers: Mapping[str, float]
    text: str
    meaning: str
    rules: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        about = f"\n  It bears on: {', '.join(self.rules)}" if self.rules else ""
        return f"{self.verdict}: {self.claim}\n  {self.text}\n  {self.meaning}{about}"

    def to_json(self) -> dict[str, Any]:
        """The check as plain data, which JSON can carry; see `plain_number` for what is not finite."""
        return asdict(self) | {"numbers": {name: plain_number(value) for name, value in self.numbers.items()}}


class Verification(tuple[Check, ...]):
    """What came of all experiments, in the order in which they were made: a tuple that can be printed."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(f"[{check.experiment}] {check}" for check in self)

    def to_json(self) -> list[dict[str, Any]]:
        """The checks as plain data."""
        return [check.to_json() for check in self]
