"""Who may see a worker's pages where `web_token` is set: a bearer of the token, or a browser that has shown it once.

A session is a signed moment of expiry, kept by the browser alone: it outlives a restart, opens every worker with the same token, and
ends when the token changes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

LIFETIME: Final = 12 * 3600.0
"""Seconds that a login lasts: a shift, with its handover."""
BEARER: Final = "Bearer "


class Sessions:
    """Checks credentials against one token, in constant time."""

    def __init__(self, token: str, wall: Callable[[], float]) -> None:
        """`wall`: seconds since 1970."""
        self._key = hashlib.sha256(b"streamapp web " + token.encode()).digest()
        self._token = hashlib.sha256(token.encode()).digest()
        self._wall = wall

    def is_token(self, offered: str) -> bool:
        # Digests have one length, so the comparison's time tells nothing of the token, not even how long it is.
        return hmac.compare_digest(hashlib.sha256(offered.encode("utf-8", "surrogateescape")).digest(), self._token)

    def is_bearer(self, authorization: str | None) -> bool:
        """Return whether a header `Authorization` carries the token."""
        return (
            authorization is not None and authorization.startswith(BEARER) and self.is_token(authorization[len(BEARER) :].strip())
        )

    def open(self) -> str:
        """Return a new session."""
        body = f"{int(self._wall() + LIFETIME)}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self.sign(body, 'session')}"

    def is_open(self, session: str | None) -> bool:
        body, _, signature = (session or "").rpartition(".")
        expires = body.partition(".")[0]
        return self.is_signed(body, "session", signature) and expires.isdecimal() and int(expires) > self._wall()

    def form_token(self, credential: str) -> str:
        """Return what a form of this session has to bring back: another site's form cannot know it."""
        return self.sign(credential, "form")

    def sign(self, text: str, purpose: str) -> str:
        """Return a signature that only this token makes, for one purpose."""
        return hmac.new(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def is_signed(self, text: str, purpose: str, signature: str) -> bool:
        return hmac.compare_digest(self.sign(text, purpose).encode(), signature.encode("utf-8", "surrogateescape"))


__all__ = ["BEARER", "LIFETIME", "Sessions"]
