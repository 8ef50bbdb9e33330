"""The module: a layer, or a network of layers, with named parameters and listeners."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

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

    __slots__ = ("_clip_hooks",)

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
        self._clip_hooks = Hooks()

    def register_clip_hook(self, hook: Callable[[Array], None]) -> Handle:
        """Has ``hook(gradient)`` called whenever the gradient is about to be clipped, whether that changes it or not.

        It may read the array, and not keep it.
        """
        return self._clip_hooks.add(hook)

    def tell_of_clipping(self) -> None:
        """Tells who listens that the gradient, if there is one, is about to be clipped."""
        if self._clip_hooks and self.grad is not None:
            self._clip_hooks(self.grad.array)


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
        self._buffers: dict[str, Array] = {}
        self._modules: dict[str, Module] = {}
        # Attributes that are computed anew whenever they are asked for, and the modules that do it.
        self._derived: dict[str, Module] = {}
        self._forward_hooks = Hooks()
        self._backward_hooks = Hooks()
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module) and "_modules" not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__} needs super().__init__() before it gets the part {name!r}"
            )
        if name in self.__dict__.get("_derived", ()):
            raise AttributeError(
                f"{type(self).__name__} derives {name!r} from its parametrization, got a value for it; "
                f"call remove_parametrizations first, or change what it is derived from"
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
        elif name in self.__dict__.get("_buffers", ()):
            # None takes a buffer away, as it does a parameter.
            if value is None:
                del self._buffers[name]
            else:
                value = self._buffers[name] = np.asarray(value)
        object.__setattr__(self, name, value)

    if not TYPE_CHECKING:
        # A type checker that saw it would believe in any attribute.

        def __getattr__(self, name: str) -> Any:
            """Computes a derived attribute; Python asks here only for what it finds nowhere else."""
            derived = self.__dict__.get("_derived", {})
            if name in derived:
                return derived[name]()
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._parameters.pop(name, None)
        self._modules.pop(name, None)
        self._buffers.pop(name, None)

    def register_buffer(self, name: str, array: Array) -> None:
        """Adds an array that belongs to the module's state but that no optimiser moves.

        It becomes the attribute ``name``; running means and the like. Assigning to the attribute
        replaces it (None takes it away), `double` and `float` convert it, and `state_dict` holds it.
        """
        self._buffers[name] = np.asarray(array)
        object.__setattr__(self, name, self._buffers[name])

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Computes the output; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs a forward method")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Computes the output and tells the listeners."""
        try:
            output = self.forward(*inputs, **options)
        except (ValueError, TypeError) as error:
            self._sign(error)
            raise
        if self._forward_hooks:
            self._forward_hooks(self, inputs, output)
        if self._backward_hooks and is_recording():
            self._hear_backward(output)
        return output

    def _sign(self, error: Exception) -> None:
        """Adds to an error in which layer it happened; every module on the way out adds its own line."""
        speaker = getattr(error, "_module", None)
        names = [name for name, part in self._modules.items() if part is speaker]
        kind = type(self).__name__
        error.add_note(f"in {names[0]!r} of {kind}" if names else f"in {kind}({self.describe()})")
        error._module = self  # type: ignore[attr-defined]

    def _hear_backward(self, output: Any) -> None:
        # A recurrent layer gives its state beside its output, which stands first.
        spoken = output[0] if isinstance(output, tuple) else output
        # Nothing comes back through a module without parameters that is given plain data, nor to a dictionary.
        if not isinstance(spoken, Tensor) or not spoken.requires_grad:
            return
        if spoken.node is not None:
            spoken.register_hook(lambda gradient: self._backward_hooks(self, gradient))
            return

        # A leaf, given back as it came, outlives this pass: it must not be told of it at the next.
        def hear_once(gradient: Array) -> None:
            handle.remove()
            self._backward_hooks(self, gradient)

        handle = spoken.register_hook(hear_once)

    # -------------------------------------------------------------------------------- listeners

    def register_forward_hook(self, hook: Callable[["Module", tuple[Any, ...], Any], None]) -> Handle:
        """Has ``hook(module, inputs, output)`` called after each forward pass; it may look, not change.

        ``inputs`` are the positional ones; ``output`` is whatever the module returns.
        """
        return self._forward_hooks.add(hook)

    def register_backward_hook(self, hook: Callable[["Module", Array], None]) -> Handle:
        """Has ``hook(module, output_gradient)`` called in each backward pass; it may read the array.

        Where the module returns several tensors, the gradient is that of the first.
        """
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

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Every buffer with its dotted name."""
        for prefix, module in self.named_modules():
            for name, array in module._buffers.items():
                yield _dotted(prefix, name), array

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
        """A copy of every parameter and buffer by its dotted name, with the keys and shapes of PyTorch.

        A shared parameter stands there under each of its names.
        """
        return {name: array.copy() for name, array in self._state().items()}

    def _state(self) -> dict[str, Array]:
        """Parameters and buffers themselves, module by module, in PyTorch's order."""
        state: dict[str, Array] = {}
        for prefix, module in self.named_modules(remove_duplicate=False):
            for name, parameter in module._parameters.items():
                state[_dotted(prefix, name)] = parameter.array
            for name, array in module._buffers.items():
                state[_dotted(prefix, name)] = array
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copies arrays into the parameters and buffers of the same names, keeping their dtype.

        Args:
            state: One array (or tensor) for each name, no more and no fewer.

        Raises:
            KeyError: If names are missing or unknown; nothing is changed then.
            ValueError: If a shape does not fit; nothing is changed then.
        """
        own = self._state()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise KeyError(
                f"load_state_dict needs exactly the model's names; missing: {missing or 'none'}, "
                f"unknown: {unknown or 'none'}"
            )
        arrays = {name: np.asarray(state[name]) for name in own}
        for name, array in own.items():
            if arrays[name].shape != array.shape:
                raise ValueError(
                    f"load_state_dict needs shape {array.shape} for {name!r}, got {arrays[name].shape}"
                )
        for name, array in own.items():
            array[...] = arrays[name]

    def double(self) -> Self:
        """Converts every parameter, and every buffer of floats, to float64."""
        return self._convert(np.float64)

    def float(self) -> Self:
        """Converts every parameter, and every buffer of floats, to float32."""
        return self._convert(np.float32)

    def _convert(self, dtype: DTypeLike) -> Self:
        for parameter in self.parameters():
            parameter.array = parameter.array.astype(dtype)
            parameter.grad = parameter.grad_buffer = None
        for module in self.modules():
            for name, array in module._buffers.items():
                if array.dtype.kind == "f":
                    setattr(module, name, array.astype(dtype))
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


def check_sizes(module: Module, **sizes: int) -> None:
    """Whether each size is at least one."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{type(module).__name__} needs {name} >= 1, got {size}")


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
