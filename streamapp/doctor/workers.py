"""Live workers, asked over HTTP for their status documents."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from http.client import HTTPException
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from streamapp.doctor.facts import Heard
from streamapp.identity import WEB_FILE
from streamapp.monitor.status import SCHEMA, STATUS_PATH, read_document
from streamapp.settings import Settings

LARGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024

# Workers are neighbours: a proxy of the environment would not reach them.
_open = build_opener(ProxyHandler({})).open


def addresses(settings: Settings, given: Sequence[str]) -> list[str]:
    """Return where workers may be: the URLs given; else the peers of the settings and this machine's own port."""
    if given:
        return list(dict.fromkeys(url.rstrip("/") for url in given))
    here = [_announced(settings)] if settings.web.web_port else []
    return list(dict.fromkeys(url.rstrip("/") for url in (*settings.web.web_peers, *here)))


def _announced(settings: Settings) -> str:
    """Return what a worker here wrote into its data directory, else where it would be."""
    try:
        told = (settings.identity.directory / WEB_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        told = ""
    return told or f"http://127.0.0.1:{settings.web.web_port}"


def ask(urls: Iterable[str], settings: Settings, timeout: float) -> tuple[list[Heard], dict[str, str]]:
    """Return what the workers of this app tell, one document per process, and why the others were silent, by URL."""
    found: dict[tuple[str, int, float], Heard] = {}
    silent: dict[str, str] = {}
    for url in urls:
        try:
            heard = _ask(url, settings, timeout)
        except (HTTPException, OSError, ValueError) as failure:
            silent[url] = _reason(failure)
            continue
        process = heard.document.worker
        if heard.document.app_id == settings.identity.app_id:
            found.setdefault((process.worker, process.pid, process.started), heard)
        else:
            silent[url] = f"a worker of app {heard.document.app_id} answers there"
    return list(found.values()), silent


def _ask(url: str, settings: Settings, timeout: float) -> Heard:
    headers = {"Accept": "application/json"}
    if settings.web.web_token is not None:
        headers["Authorization"] = f"Bearer {settings.web.web_token.reveal()}"
    request = Request(f"{url}{STATUS_PATH}", headers=headers)  # noqa: S310 - the user's own URL, http or https by its setting
    began = time.time()
    with _open(request, timeout=timeout) as answer:
        raw = answer.read(LARGEST_ANSWER_BYTES)
    middle = (began + time.time()) / 2
    document = read_document(raw)
    if document.schema != SCHEMA:
        raise ValueError(f"its status has schema {document.schema}, this command reads {SCHEMA}")
    return Heard(url, document, document.at - middle)


def _reason(failure: Exception) -> str:
    if isinstance(failure, HTTPError):
        told = {401: "it wants STREAMAPP_WEB_TOKEN", 404: "no worker of this version"}.get(failure.code, failure.reason)
        return f"HTTP {failure.code}: {told}"
    if isinstance(failure, URLError):
        return f"no answer: {failure.reason}"
    if isinstance(failure, msgspec.DecodeError):
        return "this is no status of a streamapp worker"
    return str(failure) or type(failure).__name__


__all__ = ["addresses", "ask"]
