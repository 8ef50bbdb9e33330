"""The command line: ``diag demo``, ``diag report``, ``diag info``, ``diag repair``."""

from diag.cli.main import main

__all__ = ["main"]
