"""What a PyTorch model consists of: which modules are layers, what they are called, what they own."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

PARAMETRIZED = "parametrizations"

# What torch puts around a module to compile, checkpoint or shard it; the user never wrote these names.
WRAPPERS = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Owned(NamedTuple):
    """A parameter with its full name and the layer that owns it."""

    name: str
    layer: str
    parameter: nn.Parameter


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module inside those that compile or distribute it."""
    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        else:
            return model


def is_compiled(model: nn.Module) -> bool:
    """Whether `torch.compile` was applied to the model or to a part of it, by now."""
    return any(
        "_orig_mod" in module._modules or module._compiled_call_impl is not None for module in model.modules()
    )


def check_supported(model: nn.Module) -> None:
    """Turns away what cannot be heard right.

    Raises:
        ValueError: If the model is in `nn.DataParallel`, on several devices, or not initialised yet.
    """
    if any(isinstance(module, nn.DataParallel) for module in model.modules()):
        raise ValueError(
            "watch needs a model without nn.DataParallel, whose replicas are heard out of order; "
            "use DistributedDataParallel, or watch the module inside on one device"
        )
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise ValueError(
            "watch needs a model whose lazy layers know their shapes; run one batch through it first"
        )
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) > 1:
        raise ValueError(f"watch needs a model on one device, got one on {' and '.join(devices)}")


def layer_modules(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """The modules that compute, by full name: leaves, and containers that own parameters themselves."""
    return {
        ".".join(filter(None, (name, _own_words(path)))) or kind_of(module): module
        for path, module in model.named_modules()
        if PARAMETRIZED not in path.split(".") and _is_layer(module)
    }


def kind_of(module: nn.Module) -> str:
    """The class name that the user knows; a parametrised module is of a class made on the fly."""
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "Linear"
    kind = type_before_parametrizations(module)
    # `fully_shard` puts a class of its own before the user's, named after it and derived from it last.
    is_sharded = any(base.__name__ == "FSDPModule" for base in kind.__bases__)
    return (kind.__bases__[-1] if is_sharded else kind).__name__


def owned_parameters(layers: Mapping[str, nn.Module]) -> list[Owned]:
    """Every parameter, each once: a tied one belongs to the first layer that holds it."""
    found: dict[int, Owned] = {}
    for layer, module in layers.items():
        for name, parameter in _own_parameters(module):
            found.setdefault(id(parameter), Owned(f"{layer}.{name}", layer, parameter))
    return list(found.values())


def encoder_layers(model: nn.Module) -> list[nn.TransformerEncoderLayer]:
    """The transformer layers of a model that may run as one fused step."""
    return [module for module in model.modules() if isinstance(module, nn.TransformerEncoderLayer)]


def fused_modules(encoders: Iterable[nn.TransformerEncoderLayer]) -> set[nn.Module]:
    """Modules of transformer layers in evaluation mode, which run as one fused step while nobody hooks them.

    A hook anywhere inside would switch that step off, and change the last digits of a frozen encoder.
    """
    return {part for encoder in encoders if not encoder.training for part in encoder.modules()}


def attention_projections(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """The last projection of each attention, whose output is the attention's own.

    Attention uses the projection's weights without calling it, so that no hook on it ever runs.
    """
    return {
        module: module.get_submodule("out_proj")
        for module in model.modules()
        if type(module).forward is nn.MultiheadAttention.forward
    }


def _is_layer(module: nn.Module) -> bool:
    has_parts = any(name != PARAMETRIZED for name, _ in module.named_children())
    return any(True for _ in _own_parameters(module)) or not (has_parts or isinstance(module, CONTAINERS))


def _own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A module's own parameters, and those that one of them is derived from, as in weight normalisation."""
    yield from module.named_parameters(recurse=False)
    if is_parametrized(module):
        yield from module.get_submodule(PARAMETRIZED).named_parameters(prefix=PARAMETRIZED)


def _own_words(path: str) -> str:
    return ".".join(word for word in path.split(".") if word not in WRAPPERS)
