"""A token is compared in constant time; a session is signed, ends after a shift, and with its token."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.worker.sessions import LIFETIME, Sessions

TOKEN = "correct horse battery staple"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def sessions(token: str = TOKEN, wall: Callable[[], float] | None = None) -> Sessions:
    return Sessions(token, wall or Clock())


@given(st.text())
def test_only_the_token_is_the_token(offered: str) -> None:
    assert sessions().is_token(offered) == (offered == TOKEN)


def test_a_token_is_never_compared_by_equality(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    kept = sessions()
    assert not kept.is_token(TOKEN) and not kept.is_bearer(f"Bearer {TOKEN}") and not kept.is_open(kept.open())
    assert [len(a) == len(b) for a, b in compared] == [True] * 3


@pytest.mark.parametrize("header", [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer \udcff"])
def test_a_header_without_the_token_opens_nothing(header: str | None) -> None:
    assert not sessions().is_bearer(header)


def test_a_header_with_the_token_does() -> None:
    assert sessions().is_bearer(f"Bearer {TOKEN}")


def test_a_session_lasts_a_shift() -> None:
    clock = Clock()
    kept = sessions(wall=clock)
    session = kept.open()
    clock.now += LIFETIME - 1
    assert kept.is_open(session)
    clock.now += 2
    assert not kept.is_open(session)


def test_a_session_opens_every_worker_with_the_token_and_none_with_another() -> None:
    session = sessions().open()
    assert sessions().is_open(session)
    assert not sessions("another").is_open(session)


@given(at=st.integers(0, 200), character=st.characters(codec="ascii", categories=("L", "N", "P")))
def test_a_changed_session_is_none(at: int, character: str) -> None:
    kept = sessions()
    session = kept.open()
    changed = session[: at % len(session)] + character + session[at % len(session) + 1 :]
    assert kept.is_open(changed) == (changed == session)


@pytest.mark.parametrize("session", [None, "", ".", "..", "9999999999", "9999999999.x", "\udcff.x"])
def test_what_is_no_session_opens_nothing(session: str | None) -> None:
    assert not sessions().is_open(session)


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    kept = sessions()
    assert kept.is_signed("text", "plan", kept.sign("text", "plan"))
    assert not kept.is_signed("text", "session", kept.sign("text", "plan"))
    assert kept.form_token("a") != kept.form_token("b")
