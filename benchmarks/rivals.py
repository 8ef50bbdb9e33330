"""What people use today to look into a PyTorch training, as they write it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Attaches to a model, an optimiser and a criterion; what it returns is called after each step.
Listen = Callable[[Any, Any, Any], Callable[[int], None]]


def histograms(folder: Path, stack: ExitStack) -> Listen:
    """TensorBoard histograms of all parameters and gradients, at every step."""

    def listen(model: Any, _optimizer: Any, _criterion: Any) -> Callable[[int], None]:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(folder)
        stack.callback(writer.close)

        def after_step(step: int) -> None:
            for name, parameter in model.named_parameters():
                writer.add_histogram(f"weight/{name}", parameter, step)
                writer.add_histogram(f"gradient/{name}", parameter.grad, step)

        return after_step

    return listen


def hooks_with_item(_folder: Path, _stack: ExitStack) -> Listen:
    """Hooks written by hand: mean, deviation and silent fraction of each output, norms, a number at a time."""

    def listen(model: Any, _optimizer: Any, _criterion: Any) -> Callable[[int], None]:
        found: dict[str, float] = {}

        def attach(name: str, module: Any) -> None:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                if hasattr(output, "mean"):
                    found[f"mean/{name}"] = output.mean().item()
                    found[f"std/{name}"] = output.std().item()
                    found[f"zeros/{name}"] = (output == 0).float().mean().item()

            module.register_forward_hook(hook)

        for name, module in model.named_modules():
            if not any(True for _ in module.children()):
                attach(name, module)

        def after_step(_step: int) -> None:
            for name, parameter in model.named_parameters():
                found[f"weight/{name}"] = parameter.norm().item()
                found[f"gradient/{name}"] = parameter.grad.norm().item()

        return after_step

    return listen


RIVALS = {"TensorBoard histograms": histograms, "hooks with .item()": hooks_with_item}
