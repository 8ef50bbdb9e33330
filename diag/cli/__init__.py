"""The command line, ``diag``: a command for each thing that can be done with a stored run."""

from diag.cli.main import main

__all__ = ["main"]
