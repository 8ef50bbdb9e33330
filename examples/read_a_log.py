"""Read a log: what a run recorded, as NumPy arrays, and what the rules make of it.

python examples/read_a_log.py RUN
"""

import sys

import numpy as np

import diag

log = diag.Log(sys.argv[1] if len(sys.argv) > 1 else "runs/wrapped")
print(f"{log.path}: {log.state}, {len(log.steps)} recorded steps")

ratio = log.series("update_ratio")
print(
    f"\nupdate ratio, shape {ratio.values.shape} (steps, parameters), last recorded step {ratio.steps[-1]}:"
)
for name, value in zip(ratio.columns, ratio.values[-1], strict=True):
    print(f"  {name:12} {value:.2e}")

dead = log.series("dead_unit_rate")
for layer in dead.columns:
    rates = dead.column(layer)
    if np.isfinite(rates).any():
        print(f"\ndead units in layer {layer}: {np.nanmax(rates):.0%} at worst, {rates[-1]:.0%} in the end")

diagnosis = diag.diagnose(log)
print(f"\nverdict: {diagnosis.status}")
for finding in diagnosis.findings:
    print(f"  {finding.severity}: {finding.rule}, layer {finding.layer}, since step {finding.onset_step}")
    print(f"    {finding.evidence}")
