"""Reduce the gradients of an optimizer that a program brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class ReducingOptimizer:
    """An optimizer whose gradients are reduced over the ranks before it applies them."""

    _inner: Any
    _reduce: Callable[[list[Any]], list[Any]]

    def apply_gradients(self, grads_and_vars: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """Reduce the gradients of pairs (gradient, variable), and call the inner method."""
        pairs = list(grads_and_vars)
        reduced = self._reduced([gradient for gradient, _ in pairs])
        applied = [(one, variable) for one, (_, variable) in zip(reduced, pairs, strict=True)]
        return self._inner.apply_gradients(applied, *args, **kwargs)

    def step(self, gradients: Any, *args: Any, **kwargs: Any) -> Any:
        """Reduce a list or a dict of gradients, and call the inner method."""
        if isinstance(gradients, Mapping):
            values = self._reduced(list(gradients.values()))
            reduced: Any = dict(zip(gradients, values, strict=True))
        else:
            reduced = self._reduced(list(gradients))
        return self._inner.step(reduced, *args, **kwargs)

    def _reduced(self, gradients: list[Any]) -> list[Any]:
        given = [one for one in gradients if one is not None]
        if not given:
            return gradients
        results = iter(self._reduce(given))
        return [None if one is None else next(results) for one in gradients]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
