"""The rule sets of other tools, written anew from their published definitions, on the same logs."""

from collections.abc import Mapping

from benchmarks.faults.rivals import autotrainer, deepchecker, sagemaker, torchmortem
from benchmarks.faults.rivals.reading import Rules, alarms
from benchmarks.faults.rivals.telemetry import PROBES

__all__ = ["PROBES", "RIVALS", "alarms"]

RIVALS: Mapping[str, Rules] = {
    "SageMaker Debugger": sagemaker.RULES,
    "AUTOTRAINER": autotrainer.RULES,
    "TheDeepChecker": deepchecker.RULES,
    "torchmortem": torchmortem.RULES,
}
