"""What is measured on a fixed batch now and then, because every step would be too dear or would not compare.

A *look* runs the user's closures on that batch, before a step moves the weights, and leaves no trace in the
model or its training. Each kind of look is one class in a file of its own; `Regularly` says when.
"""

from diag.on_probe_batch.curvature import Curvature
from diag.on_probe_batch.look import Closure, Look, Regularly
from diag.on_probe_batch.noise import Noise
from diag.on_probe_batch.representation import Representation

__all__ = ["Closure", "Curvature", "Look", "Noise", "Regularly", "Representation"]
