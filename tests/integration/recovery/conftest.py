"""A changelog of the test's own, on the shared broker or on one that the test may stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.changelog_bench import Changelog


@pytest.fixture
def changelog(bootstrap: str, tmp_path: Path) -> Iterator[Changelog]:
    changelog = Changelog(bootstrap, tmp_path / "data")
    yield changelog
    changelog.close()


@pytest.fixture
def changelog_on(tmp_path: Path) -> Iterator[Callable[[str], Changelog]]:
    """Make a changelog on a broker of the test's own."""
    made: list[Changelog] = []

    def make(bootstrap: str) -> Changelog:
        made.append(Changelog(bootstrap, tmp_path / "data"))
        return made[-1]

    yield make
    for changelog in made:
        changelog.close()
