"""The other workers' pages, asked in the background so that one page shows every partition. Never on a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import aiohttp
import msgspec

from streamapp.monitor.documents import group_of, unowned, worst_first
from streamapp.monitor.lag.inputs import Config
from streamapp.monitor.status import STATUS_PATH, StatusDocument, read_document

log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two rounds: what the page's own reload shows is as old at most."""
ANSWER: Final = 2.0
"""Seconds that one peer may take; all are asked at once."""
LARGEST: Final = 8_388_608
"""Bytes of an answer that are read: some thousand partitions."""
MOST: Final = 256
"""Peers that are asked."""
OWN: Final = "own"
"""Query under which a worker tells its own partitions only: else each would fetch what every other fetched."""


class Peers:
    """On the loop. `documents` and `unreachable` are of the last round."""

    def __init__(
        self, urls: Sequence[str], app_id: str, worker_id: Callable[[], str], *, token: str | None = None, every: float = EVERY
    ) -> None:
        """`token`: what the peers ask for, as they ask us."""
        self.documents: dict[str, StatusDocument] = {}
        """By URL; without this worker itself, whose URL may be among them."""
        self.unreachable: tuple[str, ...] = ()
        self._urls = [url.rstrip("/") for url in dict.fromkeys(urls)][:MOST]
        self._app_id = app_id
        self._worker_id = worker_id
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._every = every
        self._asking: asyncio.Task[None] | None = None
        self.asked = False
        """Whether a round is over: before it nobody is known to be unreachable, and no partition to be unowned."""

    @property
    def any(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._urls)

    def start(self) -> None:
        """Begin to ask, if there is anybody to ask. Once."""
        if self._urls and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_on(), name="peers")

    async def stop(self) -> None:
        """End it. May be called twice, or before start."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def _ask_on(self) -> None:
        within = aiohttp.ClientTimeout(total=ANSWER)
        async with aiohttp.ClientSession(timeout=within, headers=self._headers) as session:
            while True:
                await self.ask(session)
                await asyncio.sleep(self._every)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Ask every peer once."""
        answers = await asyncio.gather(*(self._of(session, url) for url in self._urls))
        found = {url: answer for url, answer in zip(self._urls, answers, strict=True) if answer is not None}
        self.unreachable = tuple(url for url in self._urls if url not in found)
        self.documents = {url: answer for url, answer in found.items() if answer.worker.worker != self._worker_id()}
        self.asked = True

    async def _of(self, session: aiohttp.ClientSession, url: str) -> StatusDocument | None:
        """Return what a worker of this app says there, None for anybody else, and for nobody."""
        try:
            async with session.get(f"{url}{STATUS_PATH}", params={OWN: "1"}) as answer:
                if answer.status != 200:
                    return None
                body = await answer.content.read(LARGEST)
                while (more := await answer.content.read(LARGEST)) and len(body) <= LARGEST:
                    body += more
                document = read_document(body) if len(body) <= LARGEST else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, msgspec.DecodeError):
            return None
        return document if document is not None and document.app_id == self._app_id else None


def with_peers(
    mine: StatusDocument, peers: Peers, counts: Mapping[str, int], config: Config, workers: int | None
) -> StatusDocument:
    """Return the document with the partitions of the peers in it, and with those that nobody owns.

    `counts`: of the source topics. `workers`: how many the group has, where that is known otherwise.
    """
    here = {(each.topic, each.partition): each for each in mine.partitions}
    rows = dict(here)
    for document in peers.documents.values():
        for each in document.partitions:
            # Told by two while it moves: ours is the newer, being of now.
            if each.owner == document.worker.worker:
                rows.setdefault((each.topic, each.partition), each)
    if peers.asked and not peers.unreachable:
        for topic, count in counts.items():
            for number in range(count):
                rows.setdefault((topic, number), unowned(topic, number))
    if workers is None and peers.asked and not peers.unreachable:
        workers = 1 + len(peers.documents)
    return msgspec.structs.replace(
        mine,
        group=group_of(list(rows.values()), config, workers, mine.at),
        partitions=worst_first(list(rows.values())),
        peers=tuple(peers.documents),
        unreachable=peers.unreachable,
        only_this_worker=not peers.documents,
    )


__all__ = ["ANSWER", "EVERY", "OWN", "Peers", "with_peers"]
