"""What a run really did: the evidence that a mode was the mode it claims to be."""

import functools
import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction


@dataclass
class Witness:
    """Counts of one run."""

    requests: int = 0
    """Requests that our `dispatch` served; `awaited` of them in an event loop."""
    awaited: int = 0
    views: set[type] = field(default_factory=set)
    """Classes that served them."""
    handlers: int = 0
    """Calls of handlers that the mode made `async def`, each awaited to its end."""
    viewsets: int = 0
    """Views made by our `ViewSetMixin.as_view`."""

    def counts(self) -> dict[str, int]:
        """The counts alone, for the report."""
        return {**asdict(self), "views": len(self.views)}

    def watch(self, view: Any, mixin: Any) -> None:  # Any: classes that have been put in DRF's place
        """Count what `view.dispatch` and `mixin.as_view` are called for."""
        dispatch = view.dispatch

        @functools.wraps(dispatch)
        def counted(this: object, *args: object, **kwargs: object) -> object:
            answer = dispatch(this, *args, **kwargs)
            self.requests += 1
            self.awaited += inspect.isawaitable(answer)
            self.views.add(type(this))
            return answer

        view.dispatch = markcoroutinefunction(counted) if iscoroutinefunction(dispatch) else counted

        as_view = mixin.as_view.__func__

        @functools.wraps(as_view)
        def counted_view(cls: type, *args: object, **kwargs: object) -> object:
            answer = as_view(cls, *args, **kwargs)
            self.viewsets += 1
            return answer

        mixin.as_view = type(inspect.getattr_static(mixin, "as_view"))(counted_view)  # a kind of classmethod


def descendants(kind: type) -> Iterator[type]:
    """Every class below `kind`, some more than once."""
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from descendants(child)
