"""Saving named arrays to a file and loading them back, never as pickles: loading runs no code from the file."""

from scratchnet.serialization.files import load, load_metadata, save

__all__ = ["load", "load_metadata", "save"]
