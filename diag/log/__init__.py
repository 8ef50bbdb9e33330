"""The log of a run in HDF5: written so that a kill loses only what was not flushed, read at any time."""

from diag.log.environment import describe_run, rank_and_world_size, write_run
from diag.log.histograms import HistogramSeries
from diag.log.opening import LogError
from diag.log.reader import Log, Series
from diag.log.repair import repair
from diag.log.writer import LogWriteError, LogWriter

__all__ = [
    "HistogramSeries",
    "Log",
    "LogError",
    "LogWriteError",
    "LogWriter",
    "Series",
    "describe_run",
    "rank_and_world_size",
    "repair",
    "write_run",
]
