"""What a rule is: a function from a log to findings, with the series that it cannot do without."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from diag.diagnosis.findings import Finding
from diag.log import Log

Judge = Callable[[Log], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule with a stable id.

    Attributes:
        id: As in `Finding.rule`.
        needs: Names of series; each item may be several names of which one is enough.
        judge: Looks at the log, only where it has what the rule needs.
        summary: What the rule looks for, from the first line of its docstring.
    """

    id: str
    needs: tuple[tuple[str, ...], ...]
    judge: Judge
    summary: str

    def lacks(self, log: Log) -> tuple[str, ...]:
        """The needs that the log does not meet."""
        return tuple(" or ".join(names) for names in self.needs if not any(_has(log, name) for name in names))


def rule(*needs: str | tuple[str, ...]) -> Callable[[Judge], Rule]:
    """Decorator that makes a rule of a function; the function's name becomes the rule's id.

    Args:
        needs: Names of series that the log must have, ``"axis/name"`` where several axes share the name; a
            tuple where one of several is enough.

    Example:
        >>> @rule("learning_rate")
        ... def learning_rate_is_one(log):
        ...     '''A learning rate of exactly one, which is usually a mistake.'''
        ...     return []
        >>> learning_rate_is_one.id
        'learning_rate_is_one'
    """

    def make(judge: Judge) -> Rule:
        meets = tuple((need,) if isinstance(need, str) else need for need in needs)
        lines = (judge.__doc__ or "").strip().splitlines() or [""]
        return Rule(judge.__name__, meets, judge, lines[0])

    return make


def _has(log: Log, need: str) -> bool:
    axis, _, name = need.partition("/")
    return name in log.names.get(axis, ()) if name else need in log
