"""`GET /table/…`: what Faust's pages tell of a table, from the partitions that this worker has, and only with `web_show_values`."""

from __future__ import annotations

from typing import Any

import msgspec
from faust import web


class _Shown(web.View):
    """Answers with JSON where values are shown, else as if it were not there."""

    def told(self, value: object, status: int = 200) -> web.Response:
        encoded = msgspec.json.encode(value, enc_hook=str)
        return self.bytes(encoded, content_type="application/json", status=status)

    def refused(self) -> web.Response | None:
        app: Any = self.app
        if app.settings.web.web_show_values:
            return None
        return self.told({"error": "keys and values are not shown: web_show_values is false"}, 404)


class TableNames(_Shown):
    """The app's tables."""

    view_name = "tables:list"
    view_path = "/table/"

    async def get(self, request: web.Request) -> web.Response:
        app: Any = self.app
        return self.refused() or self.told([{"name": each.name, "help": each.help or ""} for each in app.tables.values()])


class TableOf(_Shown):
    """One table."""

    view_name = "tables:detail"
    view_path = "/table/{name}/"

    async def get(self, request: web.Request, name: str) -> web.Response:
        app: Any = self.app
        table = app.tables.get(name)
        if (refused := self.refused()) is not None:
            return refused
        if table is None:
            return self.told({"error": "unknown table", "name": name}, 404)
        return self.told({"name": table.name, "help": table.help or ""})


class TableValue(_Shown):
    """The value of one key, where this worker has its partition."""

    view_name = "tables:key-detail"
    view_path = "/table/{name}/{key}/"

    async def get(self, request: web.Request, name: str, key: str) -> web.Response:
        app: Any = self.app
        table = app.tables.get(name)
        if (refused := self.refused()) is not None:
            return refused
        if app.running_engine is None:
            return self.told({"error": "no table is here yet"}, 503)
        if table is None or key not in table:
            return self.told({"error": "unknown table" if table is None else "key not found on this worker", "name": name}, 404)
        return self.told(table[key])


__all__ = ["TableNames", "TableOf", "TableValue"]
