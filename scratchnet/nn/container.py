"""Modules made of modules."""

from collections.abc import Iterator
from typing import Any

from scratchnet.nn.module import Module


class Sequential(Module):
    """Modules one after another, named ``"0"``, ``"1"``, … in their order.

    Example:
        >>> from scratchnet import nn
        >>> model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.ReLU(), nn.Linear(8, 2, rng=1))
        >>> list(model.state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for position, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential needs modules, got {type(module).__name__} at position {position}"
                )
            setattr(self, str(position), module)

    def forward(self, x: Any) -> Any:
        """See the class."""
        for module in self._modules.values():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, position: int) -> Module:
        return list(self.children())[position]
