"""Without any one rule of the design the engine turns a test red: those whose test takes its time. (CI runs the others.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.controls import LONGEST, require_red
from tests.support.weakened import WEAKENINGS


@pytest.mark.timeout(2 * LONGEST + 20)
@pytest.mark.parametrize("name", WEAKENINGS)
def test_a_test_turns_red_without(name: str, tmp_path: Path, bootstrap: str) -> None:
    require_red(name, tmp_path, bootstrap)
