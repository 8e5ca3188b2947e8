"""A process is known for ever by pid and start time: nobody else's process is signalled, and an orphan is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamapp.broker import processes
from streamapp.broker.config import Listener
from streamapp.broker.processes import Process, watch
from streamapp.broker.state import RunningState, read_live_state, read_state


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield child
    child.kill()
    child.wait(10)


def live(child: subprocess.Popen[bytes]) -> Process:
    process = Process.of(child.pid)
    assert process is not None
    return process


def state_of(process: Process) -> RunningState:
    return RunningState(process=process, port=1, controller_port=2, version="4.2.0", profile="dev", extra={Listener.TLS: 3})


def test_a_process_is_alive_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    process = live(sleeper)
    assert process.is_alive()
    assert process.end(10)
    assert not process.is_alive()


def test_a_zombie_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    process = live(sleeper)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert process.gone_within(10)
    assert Process.of(sleeper.pid) is None


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = live(child)
        assert not process.end(0.2)
        assert not process.is_alive()


def test_a_paused_process_is_ended_too(sleeper: subprocess.Popen[bytes]) -> None:
    process = live(sleeper)
    process.signal(signal.SIGSTOP)
    assert process.end(10)


def test_a_recycled_pid_is_never_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    former = Process(sleeper.pid, "some other start")
    assert not former.is_alive()
    former.signal(signal.SIGKILL)
    former.kill()
    assert live(sleeper).is_alive()


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="no ps here")
def test_ps_tells_the_same_as_proc_about_life_and_death(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes._from_ps(sleeper.pid)
    process = live(sleeper)
    process.kill()
    assert processes._from_ps(sleeper.pid) is None


def test_the_watchdog_ends_the_process_once_its_pipe_closes(sleeper: subprocess.Popen[bytes]) -> None:
    process = live(sleeper)
    with watch(process):
        assert process.is_alive()
    assert not process.is_alive()


def test_the_pid_file_comes_back_as_written(tmp_path: Path) -> None:
    state = state_of(Process(1, "boot/2"))
    state.write(tmp_path / "broker.pid")
    assert read_state(tmp_path) == state


def test_a_pid_file_of_a_dead_process_names_no_broker(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    state_of(Process(sleeper.pid, "some other start")).write(tmp_path / "broker.pid")
    assert read_live_state(tmp_path) is None
    state_of(live(sleeper)).write(tmp_path / "broker.pid")
    assert read_live_state(tmp_path) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', json.dumps({"pid": "x"}), json.dumps({"pid": 1})])
def test_a_torn_pid_file_names_no_broker(tmp_path: Path, text: str) -> None:
    (tmp_path / "broker.pid").write_text(text)
    assert read_state(tmp_path) is None
