"""Fixtures of the page's tests: one browser for all of them, and a worker's web server with something to show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamapp.worker.page_view import Page
from tests.support.browser import Browser, browsing
from tests.support.page_server import Shop, served, shop

SOON = 0.05
"""Seconds between two looks of the script, where a test waits for one."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def app() -> Shop:
    return shop()


@pytest.fixture
def url(app: Shop) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Page, "poll", SOON)
