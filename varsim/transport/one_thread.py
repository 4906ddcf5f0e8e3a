"""A cluster is used by one thread at a time."""

from __future__ import annotations

from threading import get_ident

from varsim.errors import ContextError


class OneThread:
    """Refuses a second thread while one is using the cluster: a ZeroMQ socket would abort."""

    def __init__(self) -> None:
        self._user: dict[str, int] = {}
        self._depth = 0

    def __enter__(self) -> None:
        me = get_ident()
        if self._user.setdefault("thread", me) != me:
            raise ContextError(
                "this strategy is in use by another thread: only one at a time can use it"
            )
        self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if not self._depth:
            del self._user["thread"]
