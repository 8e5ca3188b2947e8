"""promtool, where it is installed: Debian's package `prometheus` has it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def promtool(*arguments: str) -> str:
    """Run it, and return what it said. Skips the test where it is not installed, and fails it where CI is set."""
    if shutil.which("promtool") is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed: .ci/run installs Debian's package prometheus")
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
