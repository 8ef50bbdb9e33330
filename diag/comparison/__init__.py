"""Two or more runs side by side: settings, verdicts, measures, seeds, and where they part."""

from diag.comparison.forms import write_comparison
from diag.comparison.parting import Parting
from diag.comparison.runs import ComparedRun, Comparison, Difference, Entry, Outcome, side_by_side

__all__ = [
    "ComparedRun",
    "Comparison",
    "Difference",
    "Entry",
    "Outcome",
    "Parting",
    "side_by_side",
    "write_comparison",
]
