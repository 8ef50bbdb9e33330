"""The module: a layer, or a network of layers, with named parameters and listeners."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from scratchnet.hooks import Handle, Hooks
from scratchnet.tape import Array, is_recording
from scratchnet.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module owns and an optimiser moves.

    Args:
        data: Its first values; an array is not copied.
        requires_grad: False freezes it.
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Module:
    """A layer or a network: what is assigned to it as a parameter or as a module becomes part of it.

    A subclass calls ``super().__init__()`` first, assigns its parts, and writes `forward`. Names are
    dotted, and the same as PyTorch's.

    Attributes:
        training: True in training mode; `train` and `eval` change it.

    Example:
        >>> from scratchnet import nn
        >>> class Scale(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factor = nn.Parameter(np.array(3.0, dtype=np.float32))
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> Scale()(2.0)
        Tensor(6., dtype=float32, requires_grad=True)
    """

    training: bool

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter] = {}
        self._modules: dict[str, Module] = {}
        self._forward_hooks = Hooks()
        self._backward_hooks = Hooks()
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module) and "_modules" not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__} needs super().__init__() before it gets the part {name!r}"
            )
        # A part that takes another's place keeps its position, on which the order of a Sequential hangs.
        if name in self.__dict__ and not isinstance(value, Parameter):
            self._parameters.pop(name, None)
        if name in self.__dict__ and not isinstance(value, Module):
            self._modules.pop(name, None)
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._parameters.pop(name, None)
        self._modules.pop(name, None)

    def forward(self, *inputs: Any) -> Any:
        """Computes the output; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs a forward method")

    def __call__(self, *inputs: Any) -> Any:
        """Computes the output and tells the listeners."""
        output = self.forward(*inputs)
        if self._forward_hooks:
            self._forward_hooks(self, inputs, output)
        # Nothing comes back through a module without parameters that is given plain data.
        if self._backward_hooks and is_recording() and output.requires_grad:
            output.register_hook(lambda gradient: self._backward_hooks(self, gradient))
        return output

    # -------------------------------------------------------------------------------- listeners

    def register_forward_hook(self, hook: Callable[["Module", tuple[Any, ...], Any], None]) -> Handle:
        """Has ``hook(module, inputs, output)`` called after each forward pass; it may look, not change."""
        return self._forward_hooks.add(hook)

    def register_backward_hook(self, hook: Callable[["Module", Array], None]) -> Handle:
        """Has ``hook(module, output_gradient)`` called in each backward pass; it may read the array."""
        return self._backward_hooks.add(hook)

    # ------------------------------------------------------------------------------------ parts

    def named_modules(
        self, prefix: str = "", *, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, "Module"]]:
        """This module (under ``prefix``) and every module below it, each once, with its dotted name.

        Without ``remove_duplicate`` a module comes once for each of its names.
        """
        waiting, seen = [(prefix, self)], set()
        while waiting:
            name, module = waiting.pop()
            if not (remove_duplicate and module in seen):
                seen.add(module)
                yield name, module
                children = module._modules.items()
                waiting.extend(reversed([(_dotted(name, child), part) for child, part in children]))

    def modules(self) -> Iterator["Module"]:
        """This module and every module below it."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator["Module"]:
        """The modules directly below this one."""
        return iter(self._modules.values())

    def named_parameters(
        self, recurse: bool = True, *, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name; without ``recurse`` only this module's own.

        Without ``remove_duplicate`` a shared parameter comes once for each of its names.
        """
        seen: set[Parameter] = set()
        modules = self.named_modules(remove_duplicate=remove_duplicate) if recurse else [("", self)]
        for prefix, module in modules:
            for name, parameter in module._parameters.items():
                if not (remove_duplicate and parameter in seen):
                    seen.add(parameter)
                    yield _dotted(prefix, name), parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    # ------------------------------------------------------------------------------------ state

    def train(self, mode: bool = True) -> Self:
        """Puts this module and all below it into training mode, or into evaluation mode."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Puts this module and all below it into evaluation mode."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter's array by its dotted name, with the keys and shapes of PyTorch.

        A shared parameter stands there under each of its names.
        """
        named = self.named_parameters(remove_duplicate=False)
        return {name: parameter.array.copy() for name, parameter in named}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copies arrays into the parameters of the same names, keeping the parameters' dtype.

        Args:
            state: One array (or tensor) for each parameter's name, no more and no fewer.

        Raises:
            KeyError: If names are missing or unknown; no parameter is changed then.
            ValueError: If a shape does not fit; no parameter is changed then.
        """
        parameters = dict(self.named_parameters(remove_duplicate=False))
        missing, unknown = sorted(parameters.keys() - state.keys()), sorted(state.keys() - parameters.keys())
        if missing or unknown:
            raise KeyError(
                f"load_state_dict needs exactly the model's names; missing: {missing or 'none'}, "
                f"unknown: {unknown or 'none'}"
            )
        arrays = {name: np.asarray(state[name]) for name in parameters}
        for name, parameter in parameters.items():
            if arrays[name].shape != parameter.shape:
                raise ValueError(
                    f"load_state_dict needs shape {parameter.shape} for {name!r}, got {arrays[name].shape}"
                )
        for name, parameter in parameters.items():
            parameter.array[...] = arrays[name]

    def double(self) -> Self:
        """Converts every parameter to float64."""
        return self._convert(np.float64)

    def float(self) -> Self:
        """Converts every parameter to float32."""
        return self._convert(np.float32)

    def _convert(self, dtype: DTypeLike) -> Self:
        for parameter in self.parameters():
            parameter.array = parameter.array.astype(dtype)
            parameter.grad = parameter.grad_buffer = None
        return self

    # ------------------------------------------------------------------------------------- text

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return ""

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self._modules:
            return f"{name}({self.describe()})"
        parts = "\n".join(f"({key}): {module!r}" for key, module in self._modules.items())
        return f"{name}(\n" + "\n".join("  " + line for line in parts.splitlines()) + "\n)"


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
