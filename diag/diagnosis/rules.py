"""What a rule is: a function from a log to findings, with the series that it cannot do without."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from diag.diagnosis.findings import Finding
from diag.diagnosis.thresholds import THRESHOLDS, Threshold
from diag.log import Log

Judge = Callable[..., Iterable[Finding]]


class NotAssessableError(Exception):
    """Raised by a rule that finds on looking that the log cannot answer; says what is lacking."""


@dataclass(frozen=True)
class Rule:
    """A rule with a stable id.

    Attributes:
        id: As in `Finding.rule`.
        needs: Names of series; each item may be several names of which one is enough.
        judge: Looks at the log, only where it has what the rule needs; takes the thresholds by name.
        summary: What the rule looks for, from the first line of its docstring.
        thresholds: The numbers that it decides by.
    """

    id: str
    needs: tuple[tuple[str, ...], ...]
    judge: Judge
    summary: str
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)

    def lacks(self, log: Log) -> tuple[str, ...]:
        """The needs that the log does not meet."""
        return tuple(" or ".join(names) for names in self.needs if not any(_has(log, name) for name in names))

    def findings(self, log: Log, thresholds: Mapping[str, float]) -> list[Finding]:
        """What the rule finds by its own thresholds, of which some may be replaced.

        Raises:
            NotAssessableError: If the log cannot answer after all.
        """
        own = {name: threshold.value for name, threshold in self.thresholds.items()}
        return list(self.judge(log, **{**own, **thresholds}))


def rule(*needs: str | tuple[str, ...]) -> Callable[[Judge], Rule]:
    """Decorator that makes a rule of a function; the function's name becomes the rule's id.

    A parameter that goes by keyword only is a threshold, and its default the value, which
    ``diagnose(..., thresholds=...)`` may replace.

    Args:
        needs: Names of series that the log must have, ``"axis/name"`` where several axes share the name; a
            tuple where one of several is enough.

    Example:
        >>> @rule("learning_rate")
        ... def learning_rate_is_one(log, *, tolerance=1e-6):
        ...     '''A learning rate of exactly one, which is usually a mistake.'''
        ...     return []
        >>> learning_rate_is_one.id, learning_rate_is_one.thresholds["tolerance"].value
        ('learning_rate_is_one', 1e-06)
    """

    def make(judge: Judge) -> Rule:
        meets = tuple((need,) if isinstance(need, str) else need for need in needs)
        lines = (judge.__doc__ or "").strip().splitlines() or [""]
        return Rule(judge.__name__, meets, judge, lines[0], _thresholds_of(judge))

    return make


def _thresholds_of(judge: Judge) -> dict[str, Threshold]:
    """Of our own rules from the table; of a user's rule from its defaults."""
    table = THRESHOLDS.get(judge.__name__, {})
    by_keyword = (
        parameter
        for parameter in inspect.signature(judge).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    )
    return {
        parameter.name: table.get(parameter.name) or Threshold(parameter.default, "the rule's author")
        for parameter in by_keyword
    }


def _has(log: Log, need: str) -> bool:
    axis, _, name = need.partition("/")
    return name in log.names.get(axis, ()) if name else need in log
