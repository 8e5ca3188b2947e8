"""`GET /streamapp/tables` and `/streamapp/tables/TABLE/PARTITION`: what a worker's tables hold, as digests, for `streamapp verify`.

A digest is of what is committed and on disk, at one changelog offset; it tells neither keys nor values. It is computed on a thread, one at a time,
with a pause after each page as long as the page took: at most half of a core, whatever is asked.
"""

from __future__ import annotations

import asyncio
import os
import time
from itertools import islice
from typing import Any, Final, NamedTuple

from faust import web

from streamapp.digest import Digester
from streamapp.errors import StoreCorrupted, TableNotHere
from streamapp.ports import Store

TABLES_PATH: Final = "/streamapp/tables"

PAGE: Final = 1_000
WAITING: Final = 4
"""Requests that may wait for the one in hand; more are refused."""


class HeldTable(NamedTuple):
    """A table partition that this worker has."""

    table: str
    number: int
    changelog: str
    store: Store


class Digests:
    """The computing of digests, one at a time. On the loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._asked = 0

    @property
    def crowded(self) -> bool:
        return self._asked > WAITING

    async def of(self, store: Store) -> dict[str, object]:
        """Return offset, keys and digest of a store as it stands. Raises TableNotHere: it goes away; StoreCorrupted, OSError."""
        self._asked += 1
        try:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(None, _digest, store)
        finally:
            self._asked -= 1


def _digest(store: Store) -> dict[str, object]:
    digester = Digester()
    with store.frozen() as frozen:
        rows = frozen.items()
        while True:
            began = time.monotonic()
            page = list(islice(rows, PAGE))
            digester.update(page)
            if len(page) < PAGE:
                break
            time.sleep(time.monotonic() - began)  # a share of the core, not a wait
        found = digester.result()
        return {"offset": frozen.changelog_offset, "keys": found.keys, "digest": found.digest}


class TableList(web.View):
    """The table partitions that are here, and whose worker answers."""

    view_name = "streamapp:tables"
    view_path = TABLES_PATH

    async def get(self, request: web.Request) -> web.Response:
        app: Any = self.app
        held = [{"table": each.table, "partition": each.number, "changelog": each.changelog} for each in app.held_tables()]
        return self.json({"app_id": app.settings.identity.app_id, "pid": os.getpid(), "tables": held})


class TableDigests(web.View):
    """The digest of one table partition: 404 where it is not here, 409 when it went away meanwhile, 503 when many ask."""

    view_name = "streamapp:table-digest"
    view_path = f"{TABLES_PATH}/{{table}}/{{partition}}"

    async def get(self, request: web.Request, table: str, partition: str) -> web.Response:
        app: Any = self.app
        held = next((each for each in app.held_tables() if (each.table, str(each.number)) == (table, partition)), None)
        if held is None:
            return self.json({"error": f"{table}/{partition} is not here"}, status=404)
        if app.digests.crowded:
            return self.json({"error": "digests are being computed for others; ask again"}, status=503)
        try:
            found = await app.digests.of(held.store)
        except TableNotHere as gone:
            return self.json({"error": str(gone)}, status=409)
        except (StoreCorrupted, OSError) as broken:
            return self.json({"error": str(broken)}, status=500)
        return self.json({"table": held.table, "partition": held.number, "changelog": held.changelog, **found})


__all__ = ["TABLES_PATH", "Digests", "HeldTable", "TableDigests", "TableList"]
