"""What people use today to look into a PyTorch training, as they write it."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.training import Listen, Listener, Pass, Trained

# Starts in a folder of its own, and ends with the stack.
Start = Callable[[Path, ExitStack], Listen]


def histograms(folder: Path, stack: ExitStack) -> Listen:
    """TensorBoard histograms of all parameters and gradients, at every step."""

    def listen(trained: Trained) -> Listener:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(folder)
        stack.callback(writer.close)

        def after_step(step: int) -> None:
            for name, parameter in trained.model.named_parameters():
                writer.add_histogram(f"weight/{name}", parameter, step)
                writer.add_histogram(f"gradient/{name}", parameter.grad, step)

        return Listener(after_step)

    return listen


def hooks_with_item(_folder: Path, _stack: ExitStack) -> Listen:
    """Hooks written by hand: mean, deviation and silent fraction of each output, norms, a number at a time."""

    def listen(trained: Trained) -> Listener:
        found: dict[str, float] = {}

        def attach(name: str, module: Any) -> None:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                if hasattr(output, "mean"):
                    found[f"mean/{name}"] = output.mean().item()
                    found[f"std/{name}"] = output.std().item()
                    found[f"zeros/{name}"] = (output == 0).float().mean().item()

            module.register_forward_hook(hook)

        for name, module in trained.model.named_modules():
            if not any(True for _ in module.children()):
                attach(name, module)

        def after_step(_step: int) -> None:
            for name, parameter in trained.model.named_parameters():
                found[f"weight/{name}"] = parameter.norm().item()
                found[f"gradient/{name}"] = parameter.grad.norm().item()

        return Listener(after_step)

    return listen


def numbers_by_hand(_folder: Path, _stack: ExitStack) -> Listen:
    """What our default set holds of layers and parameters, computed as fast as torch can: nothing is kept.

    Mean, norm and silent units of each output, norms of weights, gradients and updates, all read in one go. No
    tool that measures as much can cost less; names, cadence, files and safety come on top.
    """

    def listen(trained: Trained) -> Listener:
        import torch

        parameters = [parameter.detach() for parameter in trained.model.parameters()]
        kept = [torch.empty_like(weight) for weight in parameters]
        found: list[Any] = []

        def on_output(module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                seen = output.detach()
                found.extend((seen.mean(), torch.linalg.vector_norm(seen)))
                if isinstance(module, torch.nn.ReLU):
                    found.append((seen != 0).any(dim=0).count_nonzero())

        def before_step(*_: Any) -> None:
            torch._foreach_copy_(kept, parameters)
            gradients = [parameter.grad for parameter in trained.model.parameters()]
            found.extend(torch._foreach_norm(kept) + torch._foreach_norm(gradients))

        def after_step(*_: Any) -> None:
            torch._foreach_sub_(kept, parameters)
            found.extend(torch._foreach_norm(kept))
            torch.stack([number.float() for number in found]).tolist()
            found.clear()

        for module in trained.model.modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(on_output)
        trained.optimizer.register_step_pre_hook(before_step)
        trained.optimizer.register_step_post_hook(after_step)
        return Listener()

    return listen


def wandb_watch(folder: Path, stack: ExitStack) -> Listen:
    """``wandb.watch`` of all parameters and gradients, at every step, of a run that stays on this machine."""

    def listen(trained: Trained) -> Listener:
        # Read when it is imported; without it faults of its own are reported over the network.
        os.environ.update(WANDB_ERROR_REPORTING="false", WANDB_SILENT="true")
        import wandb

        folder.mkdir()
        run = wandb.init(mode="offline", dir=folder)
        stack.callback(run.finish)
        run.watch(trained.model, log="all", log_freq=1)
        return Listener(after_step=lambda step: run.log({"step": step}))

    return listen


def cockpit_economy(_folder: Path, _stack: ExitStack) -> Listen:
    """Cockpit's configuration ``economy``, at every step."""

    def listen(trained: Trained) -> Listener:
        from backpack import extend
        from cockpit import Cockpit
        from cockpit.utils.configuration import configuration

        model, criterion = extend(trained.model), extend(trained.criterion)
        of_each = type(criterion)(reduction="none")
        cockpit = Cockpit(list(model.parameters()), quantities=configuration("economy"))

        def backward(forward: Pass) -> None:
            info = {
                "batch_size": len(forward.target),
                "individual_losses": of_each(forward.prediction, forward.target),
                "loss": forward.loss,
                "optimizer": trained.optimizer,
            }
            with cockpit(forward.step, info=info):
                forward.loss.backward(create_graph=cockpit.create_graph(forward.step))

        return Listener(backward=backward)

    return listen


RIVALS: Mapping[str, Start] = {
    "the numbers by hand, nothing kept": numbers_by_hand,
    "hooks with .item()": hooks_with_item,
    "TensorBoard histograms": histograms,
}
# They need an environment of their own.
PEERS: Mapping[str, Start] = {"wandb.watch offline": wandb_watch, "Cockpit economy": cockpit_economy}
