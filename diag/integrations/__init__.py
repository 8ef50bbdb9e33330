"""Callbacks that record a training which a framework runs: one module a framework, imported by name.

from diag.integrations.lightning import DiagCallback         # Trainer(callbacks=[DiagCallback("runs/x")])
from diag.integrations.hugging_face import DiagCallback
from diag.integrations.keras import DiagCallback             # on the torch backend

Each watches the model and its optimisers when training starts, passes on the metrics that the framework
logs, and closes the log when training ends. Nothing here is imported by `diag` itself.
"""
