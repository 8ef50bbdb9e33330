"""Modules made of modules, and lists of parameters."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

import numpy as np

from scratchnet.nn.module import Module, Parameter
from scratchnet.tensor import as_tensor


class _Numbered(Module):
    """Modules in an order, by position."""

    def _append(self, name: str, module: Module) -> None:
        _check_name(self, name)
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__} needs modules, got {type(module).__name__} at position {len(self)}"
            )
        setattr(self, name, module)

    def _renumber(self, modules: Iterable[Module]) -> None:
        """Takes these for its parts, and names them by position."""
        parts = list(modules)
        for name in list(self._modules):
            delattr(self, name)
        for module in parts:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Adds a module at the end, under its position as a name."""
        self._append(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Adds modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Adds a module before a position; all are then named by position."""
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__} needs modules, got {type(module).__name__} at position {index}"
            )
        parts = list(self)
        parts.insert(index, module)
        self._renumber(parts)
        return self

    def _name(self, index: int) -> str:
        try:
            return list(self._modules)[index]
        except IndexError:
            raise IndexError(
                f"{type(self).__name__} has modules at 0 to {len(self) - 1}, got {index}"
            ) from None

    def _slice(self, cut: slice) -> Self:
        return type(self)(*list(self)[cut])

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Module | Self:
        return self._slice(index) if isinstance(index, slice) else self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__} needs modules, got {type(module).__name__} at position {index}"
            )
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        parts = list(self)
        del parts[index]
        self._renumber(parts)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()


class Sequential(_Numbered):
    """Modules one after another, y = fₙ(… f₂(f₁(x))), named ``"0"``, ``"1"``, … in their order.

    Args:
        modules: The modules, or one dictionary of them, whose keys are then their names.

    Raises:
        TypeError: If something else than a module is among them.
        ValueError: If a name is empty, has a dot, or is an attribute of modules already.

    Example:
        >>> from scratchnet import nn
        >>> model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.ReLU(), nn.Linear(8, 2, rng=1))
        >>> list(model.state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
        >>> len(model[:2])
        2
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._append(name, module)
        else:
            self.extend(modules)  # type: ignore[arg-type] # what is no module is refused there

    def forward(self, x: Any) -> Any:
        """See the class."""
        for module in self._modules.values():
            x = module(x)
        return x

    def _slice(self, cut: slice) -> Self:
        # Parts keep their names, as in PyTorch, so that a part of the state fits them.
        return type(self)(dict(list(self._modules.items())[cut]))


class Residual(Sequential):
    """Adds its input to what its modules make of it, y = x + f(x); x̄ = ȳ + f'(x)ᵀ ȳ.

    The first term carries the gradient past any number of such blocks unchanged.

    Args:
        modules: The modules of f, one after another, or one dictionary of them.

    Shape:
        That of the input, which f must give back.

    Raises:
        ValueError: If the output of f has another shape than its input.

    Example:
        >>> from scratchnet import nn
        >>> Residual(nn.ReLU())(np.array([-1.0, 2.0])).numpy()
        array([-1., 4.])

    References:
        He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385.
    """

    def forward(self, x: Any) -> Any:
        """See the class."""
        y = as_tensor(super().forward(x))
        if y.shape != np.shape(x):
            raise ValueError(
                f"Residual needs modules that keep the shape, got {y.shape} from {np.shape(x)}; "
                f"give them as many outputs as inputs"
            )
        return y + x


class ModuleList(_Numbered):
    """Modules in a list: parts of the model, which the model's own `forward` calls.

    Args:
        modules: Any number of modules in one iterable.

    Raises:
        TypeError: If something else than a module is among them.

    Example:
        >>> from scratchnet import nn
        >>> layers = nn.ModuleList(nn.Linear(2, 2, rng=seed) for seed in range(3))
        >>> [name for name, _ in layers.named_parameters()][:3]
        ['0.weight', '0.bias', '1.weight']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _slice(self, cut: slice) -> Self:
        return type(self)(list(self)[cut])


class ModuleDict(Module):
    """Modules by name: parts of the model, which the model's own `forward` calls.

    Args:
        modules: A dictionary, or pairs of a name and a module.

    Raises:
        TypeError: If something else than a module is among them.
        ValueError: If a name is empty, has a dot, or is an attribute of modules already.

    Example:
        >>> from scratchnet import nn
        >>> heads = nn.ModuleDict({"mean": nn.Linear(2, 1), "scale": nn.Linear(2, 1)})
        >>> heads["mean"](np.zeros((5, 2))).shape
        (5, 1)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Adds modules; one of the same name takes the other's place."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module

    def pop(self, name: str) -> Module:
        """Takes a module out, and gives it."""
        module = self[name]
        delattr(self, name)
        return module

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return self._modules.items()

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if name not in self._modules:
            _check_name(self, name)
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict needs modules, got {type(module).__name__} for {name!r}")
        setattr(self, name, module)

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)


class ParameterList(Module):
    """Parameters in a list, named by position.

    Args:
        parameters: Any number of parameters in one iterable.

    Raises:
        TypeError: If something else than a parameter is among them.
    """

    def __init__(self, parameters: Iterable[Parameter] = ()) -> None:
        super().__init__()
        for parameter in parameters:
            self.append(parameter)

    def append(self, parameter: Parameter) -> Self:
        """Adds a parameter at the end."""
        if not isinstance(parameter, Parameter):
            raise TypeError(
                f"ParameterList needs parameters, got {type(parameter).__name__} at position {len(self)}; "
                f"wrap it in nn.Parameter"
            )
        setattr(self, str(len(self)), parameter)
        return self

    def __getitem__(self, index: int) -> Parameter:
        return list(self)[index]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())


def _check_name(owner: Module, name: str) -> None:
    if not name or "." in name or hasattr(owner, name):
        raise ValueError(
            f"{type(owner).__name__} needs names that are not empty, have no dot and are no attribute of it, "
            f"got {name!r}"
        )
