"""Workers, asked for their status documents."""

from __future__ import annotations

import re
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from streamapp.errors import SettingInvalid
from streamapp.monitor.status import SCHEMA, STATUS_PATH, read_document
from streamapp.monitor.top import Heard
from streamapp.settings.fields import Secret

LARGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024

# Workers are neighbours: a proxy of the environment would not reach them.
_open = build_opener(ProxyHandler({})).open


def addresses(urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return them without what they need not have, each once. Raises SettingInvalid: no URL."""
    for url in urls:
        if not re.fullmatch(r"https?://[!-~]+", url):
            raise SettingInvalid(f"--from {url}: must be the http:// or https:// URL of a worker's web port")
    return tuple(dict.fromkeys(url.rstrip("/").removesuffix(STATUS_PATH) for url in urls))


def ask(url: str, token: Secret | None, timeout: float) -> Heard:
    """Return what the worker says of itself and of the half hour before; a worker that does not answer is no error. Blocks."""
    headers = {"Accept": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token.reveal()}"})
    request = Request(f"{url}{STATUS_PATH}?history=30m", headers=headers)  # noqa: S310 - http and https, see addresses
    try:
        with _open(request, timeout=timeout) as answer:
            document = read_document(answer.read(LARGEST_ANSWER_BYTES))
    except HTTPError as refused:
        told = {401: "it wants STREAMAPP_WEB_TOKEN", 404: "is it a streamapp worker of this version?"}.get(
            refused.code, refused.reason
        )
        return Heard(url, None, f"HTTP {refused.code}: {told}")
    except (URLError, OSError) as failure:
        return Heard(url, None, str(getattr(failure, "reason", None) or failure))
    except msgspec.MsgspecError:
        return Heard(url, None, "this is no answer of a streamapp worker")
    if document.schema != SCHEMA:
        return Heard(url, None, f"its document has schema {document.schema}, this command reads {SCHEMA}")
    return Heard(url, document)


__all__ = ["addresses", "ask"]
