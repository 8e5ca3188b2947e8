"""Live workers, asked over HTTP for what their tables hold."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from streamapp.errors import SettingInvalid, StreamAppError

PATH: Final = "/streamapp/tables"
DIGEST_TIMEOUT: Final = 600.0
"""Seconds that a worker may take for one digest: it computes one at a time, at half speed; 100 million keys take 200."""
LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024

# Workers are neighbours: a proxy of the environment would not reach them.
_open = build_opener(ProxyHandler({})).open


class WorkerSilent(StreamAppError):
    """The worker did not answer, or not as a worker does."""


@dataclass(frozen=True, slots=True)
class HeldPartition:
    """A table partition that a worker says it has."""

    table: str
    number: int


@dataclass(frozen=True, slots=True)
class LiveTable:
    """What a worker's table partition holds, at one changelog offset."""

    offset: int | None
    keys: int
    digest: str


def fetch(url: str, timeout: float, *, token: str | None = None) -> bytes:
    """Return what an http or https address of a worker answers. Raises HTTPError, URLError, OSError."""
    headers = {"Accept": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    with _open(Request(url, headers=headers), timeout=timeout) as answer:  # noqa: S310 - http and https: callers see to it
        body: bytes = answer.read(LARGEST_ANSWER_BYTES)
    return body


class LiveWorker:
    """One worker's web server. Calls raise WorkerSilent."""

    def __init__(self, url: str, timeout: float) -> None:
        """Raises SettingInvalid: no URL."""
        if not re.fullmatch(r"https?://[!-~]+", url):
            raise SettingInvalid(f"--worker {url}: must be the http:// or https:// URL of a worker's web port")
        self.url = url.rstrip("/")
        self._timeout = timeout
        self.app_id = ""
        self.pid: int | None = None

    def held(self) -> list[HeldPartition]:
        """Return what the worker has now; learns whose worker it is."""
        answer = self._get("", self._timeout)
        try:
            self.app_id, self.pid = str(answer["app_id"]), int(str(answer["pid"]))
            tables = answer["tables"]
            assert isinstance(tables, list)
            return sorted(
                (HeldPartition(str(each["table"]), int(each["partition"])) for each in tables),
                key=lambda each: (each.table, each.number),
            )
        except (KeyError, TypeError, ValueError, AssertionError) as unknown:
            raise WorkerSilent(f"{self.url}: this is no answer of a streamapp worker") from unknown

    def digest(self, table: str, number: int) -> LiveTable | None:
        """Return what the partition holds; None when it has gone to another worker."""
        try:
            answer = self._get(f"/{quote(table, safe='')}/{number}", max(self._timeout, DIGEST_TIMEOUT))
        except _Gone:
            return None
        offset = answer.get("offset")
        return LiveTable(int(str(offset)) if offset is not None else None, int(str(answer["keys"])), str(answer["digest"]))

    def _get(self, path: str, timeout: float) -> dict[str, object]:
        try:
            document = json.loads(fetch(f"{self.url}{PATH}{path}", timeout))
        except HTTPError as refused:
            if path and refused.code in (404, 409):
                raise _Gone from refused
            told = "is it a streamapp worker of this version?" if refused.code == 404 else error_of(refused)
            raise WorkerSilent(f"{self.url}: HTTP {refused.code}: {told}") from refused
        except (URLError, OSError) as failure:
            reason = getattr(failure, "reason", None) or failure
            raise WorkerSilent(f"{self.url}: no answer: {reason}") from failure
        except ValueError as unknown:
            raise WorkerSilent(f"{self.url}: this is no answer of a streamapp worker") from unknown
        if not isinstance(document, dict):
            raise WorkerSilent(f"{self.url}: this is no answer of a streamapp worker")
        return document


class _Gone(Exception):
    """The table partition is not there any more."""


def error_of(refused: HTTPError) -> str:
    try:
        return str(json.loads(refused.read(4096))["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return refused.reason


__all__ = ["HeldPartition", "LiveTable", "LiveWorker", "WorkerSilent", "error_of", "fetch"]
