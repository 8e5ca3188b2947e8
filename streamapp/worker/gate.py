"""What stands before every page and document of a worker: nothing where no `web_token` is set, else the token or a session.

The probes stay open: who restarts a worker has no token, and they tell nothing of its records.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from streamapp.monitor.page.document import LOGOUT_PATH
from streamapp.monitor.page.files import policy
from streamapp.monitor.page.login import LOGIN_PATH, login_page
from streamapp.settings.rooms import WebSettings
from streamapp.worker.sessions import LIFETIME, Sessions

OPEN: Final = frozenset({"/livez", "/readyz", "/startupz", "/healthz"})
WRITING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: a browser then sends `Origin: null` with our own forms, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of everything that is ours: nothing of it is to be kept, framed, or read by another site."""

FOLDERS: Final = ("/streamapp/", "/table/")
"""Where all is ours, whichever module serves it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page_headers() -> dict[str, str]:
    """Return the headers of an HTML page of ours."""
    return {**HEADERS, "Content-Security-Policy": policy()}


class Gate:
    """One worker's. On the loop that serves."""

    def __init__(self, settings: WebSettings, wall: Callable[[], float] = time.time) -> None:
        token = settings.web_token
        self.sessions = None if token is None else Sessions(token.reveal(), wall)
        # Cookies know no ports, and two workers of one machine may have two tokens.
        self._cookie = f"streamapp-{settings.web_port}"

    @property
    def is_writable(self) -> bool:
        """Whether pages may write at all: only where it is known who asks."""
        return self.sessions is not None

    def has_login(self, request: Any) -> bool:
        return self._session(request) is not None

    def form_token(self, request: Any) -> str | None:
        """Return what a form on a page for this request has to bring back; None where nobody may write."""
        return None if self.sessions is None else self.sessions.form_token(self._session(request) or "bearer")

    def is_own_form(self, request: Any, brought: object) -> bool:
        """Return whether a form comes from a page that this worker made for this session, and not from another site."""
        expected = self.form_token(request)
        if expected is None or self.sessions is None or not isinstance(brought, str):
            return False
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return False
        return self.sessions.is_signed(self._session(request) or "bearer", "form", brought)

    def middleware(self) -> Any:
        """Return aiohttp's form of it."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.sessions is None or request.path in OPEN:
                return _unkept(request, await handler(request))
            if request.path == LOGIN_PATH and request.method == "POST":
                return await self._login(request, self.sessions)
            if request.path == LOGOUT_PATH and request.method == "POST":
                return self._logout()
            if self._session(request) is None and not self.sessions.is_bearer(request.headers.get("Authorization")):
                return self._refused(request)
            return _unkept(request, await handler(request))

        return guard

    # --- inside

    def _session(self, request: Any) -> str | None:
        """Return the request's session, if it is open."""
        session = request.cookies.get(self._cookie)
        return session if self.sessions is not None and self.sessions.is_open(session) else None

    async def _login(self, request: web.Request, sessions: Sessions) -> web.Response:
        form = await request.post()
        token, after = form.get("token"), form.get("next")
        where = local_path(after if isinstance(after, str) else "")
        if not isinstance(token, str) or not sessions.is_token(token):
            return _page(login_page(where, failed=True))
        answer = web.Response(status=303, headers={**HEADERS, "Location": where})
        answer.set_cookie(
            self._cookie,
            sessions.open(),
            max_age=int(LIFETIME),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return answer

    def _logout(self) -> web.Response:
        answer = web.Response(status=303, headers={**HEADERS, "Location": "/"})
        answer.del_cookie(self._cookie, path="/")
        return answer

    def _refused(self, request: web.Request) -> web.Response:
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return _page(login_page(local_path(request.path_qs), failed=False))
        told = {"error": "web_token is set: send it as Authorization: Bearer …"}
        return web.json_response(told, status=401, headers={**HEADERS, "WWW-Authenticate": "Bearer"})


def _unkept(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Return an answer with the headers of what is ours; a user's pages have their own."""
    if (request.path == "/" or request.path in OPEN or request.path.startswith(FOLDERS)) and not answer.prepared:
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
    return answer


def local_path(path: str) -> str:
    """Return a path of this worker: what could lead elsewhere becomes `/`."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_local else "/"


def _page(text: str) -> web.Response:
    return web.Response(
        text=text, status=401, content_type="text/html", charset="utf-8", headers={**page_headers(), "WWW-Authenticate": "Bearer"}
    )


__all__ = ["HEADERS", "OPEN", "Gate", "local_path", "page_headers"]
