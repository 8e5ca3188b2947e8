"""Without a rule of the design the engine turns a test red: those whose test needs no broker. (`make faults` runs all.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.controls import LONGEST, require_red
from tests.support.weakened import WEAKENINGS


@pytest.mark.timeout(2 * LONGEST + 20)
@pytest.mark.parametrize("name", [name for name, weakening in WEAKENINGS.items() if weakening.is_quick])
def test_its_test_turns_red(name: str, tmp_path: Path) -> None:
    require_red(name, tmp_path, None)
