"""Which mutants are faults: those that really hurt, against the program that they were made of."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import mannwhitneyu

SEEDS = 20
LARGEST_P = 0.01
LEAST_EFFECT = 0.8


def effect(whole: Sequence[float], mutant: Sequence[float]) -> float:
    """Cohen's d: by how many pooled standard deviations the mutant's mean lies below.

    Example:
        >>> effect([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
        1.0
    """
    gap = float(np.mean(whole) - np.mean(mutant))
    variances = np.var(whole, ddof=1), np.var(mutant, ddof=1)
    weights = len(whole) - 1, len(mutant) - 1
    pooled = float(np.sqrt(np.average(variances, weights=weights)))
    if pooled == 0:
        return float(np.copysign(np.inf, gap)) if gap else 0.0
    return gap / pooled


def really_hurts(whole: Sequence[float], mutant: Sequence[float]) -> bool:
    """Whether a mutant's skill over the seeds is worse: by the rank test, and by a large effect."""
    if len(set(whole) | set(mutant)) == 1:
        return False
    p = float(mannwhitneyu(whole, mutant, alternative="two-sided", method="asymptotic").pvalue)
    return p < LARGEST_P and effect(whole, mutant) >= LEAST_EFFECT
