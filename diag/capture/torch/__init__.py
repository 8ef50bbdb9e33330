"""Turns the hooks of a PyTorch model into events; the twin of the capture for scratchnet."""

from diag.capture.torch.capture import Capture

__all__ = ["Capture"]
