"""What a callable receives, in the parent and in the child."""

from __future__ import annotations

from typing import Any, NoReturn


class ReadOnlyFeeds(dict):  # type: ignore[type-arg]
    """Arrays by input name, shared by all queries that carry them, so that nobody may change it.

    A ``dict``, since runtimes ask for one: ONNX Runtime copies any other mapping item by item in
    each call.
    """

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("feeds are read-only, other queries carry them too: change dict(feeds)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)
