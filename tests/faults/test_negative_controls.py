"""Without any one rule of the design the engine turns a test red, and says so in that rule's words. (CI runs the quick ones.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.controls import LONGEST, require_green_alone, require_red
from tests.support.weakened import WEAKENINGS


@pytest.mark.timeout(2 * LONGEST + 20)
@pytest.mark.parametrize("name", WEAKENINGS)
def test_its_test_turns_red(name: str, tmp_path: Path, bootstrap: str) -> None:
    require_red(name, tmp_path, bootstrap)


@pytest.mark.timeout(2 * LONGEST + 20)
@pytest.mark.parametrize("name", [name for name, weakening in WEAKENINGS.items() if weakening.covered])
def test_a_second_check_covers_the_first(name: str, tmp_path: Path, bootstrap: str) -> None:
    require_green_alone(name, tmp_path, bootstrap)
