"""A test's crash order in the environment is read to the letter, and carried out at the n-th time, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamapp import faults
from streamapp.errors import CommitRefused, SettingInvalid
from streamapp.faults import FaultPoint, reached
from streamapp.testing.crash import CRASH_AT, Crash, How, install_from, read

DIES = "import os; from streamapp.testing import install_from; from streamapp.faults import FaultPoint, reached;"


@pytest.fixture(autouse=True)
def _no_hook_stays() -> Iterator[None]:
    yield
    faults.hook = None


def test_every_form_is_read() -> None:
    assert read("after-commit") == (Crash(FaultPoint.AFTER_COMMIT, 1, How.KILL),)
    assert read("after-flush:3") == (Crash(FaultPoint.AFTER_FLUSH, 3, How.KILL),)
    assert read("after-flush=raise, in-assign:2=stop") == (
        Crash(FaultPoint.AFTER_FLUSH, 1, How.RAISE),
        Crash(FaultPoint.IN_ASSIGN, 2, How.STOP),
    )


@pytest.mark.parametrize("text", ["nowhere", "after-commit:0", "after-commit:x", "after-commit=explode", "after-commit,,", ":2"])
def test_what_names_no_fault_point_is_refused(text: str) -> None:
    with pytest.raises(SettingInvalid, match=CRASH_AT):
        install_from({CRASH_AT: text})
    assert faults.hook is None


def test_without_the_variable_nothing_is_installed() -> None:
    assert not install_from({})
    assert not install_from({CRASH_AT: ""})
    assert faults.hook is None


def test_it_happens_at_the_nth_time_and_only_then() -> None:
    assert install_from({CRASH_AT: "after-flush:2=raise"})
    reached(FaultPoint.AFTER_FLUSH)
    reached(FaultPoint.AFTER_COMMIT)
    with pytest.raises(CommitRefused):
        reached(FaultPoint.AFTER_FLUSH)
    reached(FaultPoint.AFTER_FLUSH)


def test_kill_ends_the_process_on_the_spot() -> None:
    code = f"{DIES} install_from(os.environ); reached(FaultPoint.AFTER_COMMIT); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, CRASH_AT: "after-commit"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
