"""What a supervisor asks a worker: `/livez`, `/readyz`, `/startupz`, and for people `/healthz`.

200, or 503 with a JSON body that names the failing check.
"""

from __future__ import annotations

from typing import Any, Final

from faust import web

from streamapp.worker.health import Check, Health, conditions, failing
from streamapp.worker.told import facts_of

LIVEZ: Final = "/livez"


def livez(health: Health) -> tuple[int, dict[str, Any]]:
    """Return status and body of `/livez`. Any thread: while the loop is blocked, the door's thread answers (see door.py)."""
    checks = health.liveness()
    bad = failing(checks)
    if bad is None:
        return 200, {"live": True}
    return 503, {"live": False, "failing": bad.name, "detail": bad.detail}


class Livez(web.View):
    """200 while the loop turns and records move, or wait on purpose; whatever the broker and the group do."""

    view_name = "streamapp:livez"
    view_path = LIVEZ

    async def get(self, request: web.Request) -> web.Response:
        status, body = livez(_health(self))
        return self.json(body, status=status)


class Readyz(web.View):
    """200 once partitions are assigned and their tables restored (a worker without partitions is ready), else 503."""

    view_name = "streamapp:readyz"
    view_path = "/readyz"

    async def get(self, request: web.Request) -> web.Response:
        status = _readiness(self)
        return self.json(status, status=200 if status["ready"] else 503)


class Startupz(web.View):
    """200 once the first restore is done, for good; until then 503 with what is left of it."""

    view_name = "streamapp:startupz"
    view_path = "/startupz"

    async def get(self, request: web.Request) -> web.Response:
        readiness = _readiness(self)
        check = _health(self).startup(readiness)
        body: dict[str, Any] = {"started": check.ok, **_restore_left(readiness)}
        if not check.ok:
            body["failing"] = check.detail
        return self.json(body, status=200 if check.ok else 503)


class Healthz(web.View):
    """200 always. With `?verbose`: every check, those of the probes and what only people want to know."""

    view_name = "streamapp:healthz"
    view_path = "/healthz"

    async def get(self, request: web.Request) -> web.Response:
        readiness = _readiness(self)
        health = _health(self)
        checks = [
            *health.liveness(),
            _ready(readiness),
            health.startup(readiness),
            *conditions(facts_of(self.app)),
        ]
        bad = failing(checks)
        body: dict[str, Any] = {"well": bad is None}
        if bad is not None:
            body["failing"] = bad.name
        if "verbose" in request.query:
            body["checks"] = [{"check": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        return self.json(body)


def _health(view: web.View) -> Health:
    health: Health = view.web.health  # type: ignore[attr-defined]  # the server is streamapp's
    return health


def _readiness(view: web.View) -> dict[str, Any]:
    readiness: dict[str, Any] = view.app.readiness()  # type: ignore[attr-defined]  # the app is a StreamApp
    return readiness


def _ready(readiness: dict[str, Any]) -> Check:
    told = "without partitions" if readiness.get("idle") else f"{readiness.get('restored', 0)} partitions run"
    return Check("ready", readiness["ready"], told if readiness["ready"] else str(readiness["failing"]))


def _restore_left(readiness: dict[str, Any]) -> dict[str, Any]:
    """Return how much of the restores is left: records, and seconds where they are known."""
    rows = readiness.get("restoring", [])
    left = [
        max(0, row["target"] - row["offset"]) for row in rows if row.get("target") is not None and row.get("offset") is not None
    ]
    seconds = [row.get("seconds_left") for row in rows]
    known = bool(rows) and all(each is not None for each in seconds)
    return {
        "remaining_records": 0 if not rows else sum(left) if len(left) == len(rows) else None,
        "seconds_left": 0.0 if not rows else max(seconds) if known else None,
        "restoring": rows,
    }


__all__ = ["LIVEZ", "Healthz", "Livez", "Readyz", "Startupz", "livez"]
