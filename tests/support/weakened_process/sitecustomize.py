"""How every Python process of a negative control is weakened: with this folder on PYTHONPATH, before it runs anything else.

So the test's own process, the members that it starts and real workers take the same way in, and none of them knows of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[3])

if "STREAMAPP_TEST_WEAKEN" in os.environ:
    sys.path.insert(0, ROOT)
    try:
        from tests.support.weakened import named
        from tests.support.weakening import WEAKEN, install
    finally:
        sys.path.remove(ROOT)
    install(named(os.environ[WEAKEN]))
