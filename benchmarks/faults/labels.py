"""Which mutants are faults: those that really hurt, against the program that they were made of."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import ttest_ind_from_stats

LABEL_SEEDS = 20
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
    """Whether a mutant's skill over the seeds is worse: by Welch's two-sided test, and by a large effect."""
    d = effect(whole, mutant)
    if np.ptp(whole) == np.ptp(mutant) == 0:
        # Without any spread a difference is one beyond doubt.
        return d > 0
    moments = (
        value for some in (whole, mutant) for value in (np.mean(some), np.std(some, ddof=1), len(some))
    )
    p = float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)
    return p < LARGEST_P and d >= LEAST_EFFECT
