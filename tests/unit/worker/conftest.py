"""Fixtures of the shell's unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamapp import StreamApp
from streamapp.pipeline.savepoint import current_savepoint
from tests.unit.worker.shop import new_app


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Neither the developer's variables nor the project in whose folder the tests run may decide."""
    import os

    for name in list(os.environ):
        if name.startswith("STREAMAPP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    token = current_savepoint.set(None)
    yield
    current_savepoint.reset(token)


@pytest.fixture
def app() -> StreamApp:
    return new_app()
