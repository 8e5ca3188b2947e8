"""The Dockerfile: linted, and held against OPERATIONS §8 and the files that it copies; its health check is run against a web server.

No image is built here: that takes a container engine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from tests.support.documents import ROOT

TEXT: Final = (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the last stage, continued lines joined."""
    lines = re.sub(r"\\\n", "", "".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith("#")))
    found = [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines.splitlines() if line.strip()]
    last = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def only(word: str) -> str:
    (found,) = (rest for each, rest in instructions() if each == word)
    return found


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in only("ENV").split())


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_begins_with_what_was_not_run_and_how_to_run_it() -> None:
    head = TEXT.split("\nFROM", 1)[0]
    assert "no image was ever built" in head
    assert "docker build" in head


def test_wheels_are_installed_by_their_locked_hashes_and_nothing_else_is() -> None:
    locked, own = re.findall(r"pip install ([^\n]*)", TEXT)
    assert {"--require-hashes", "--only-binary=:all:"} <= set(locked.split())
    assert {"--no-deps", "--no-build-isolation"} <= set(own.split())


def test_it_runs_as_a_user_that_is_not_root_and_writes_to_its_volume_only() -> None:
    user = only("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert f"--uid {user.partition(':')[0]}" in TEXT
    assert only("VOLUME") == environment()["STREAMAPP_DATA_DIR"] == "/data"
    assert environment()["HOME"] == "/tmp"
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_signals_reach_the_worker_through_an_init_and_no_shell() -> None:
    assert json.loads(only("ENTRYPOINT")) == ["/usr/bin/tini", "--", "faust", "-A", "streamapp"]
    assert json.loads(only("CMD"))[0] == "worker"


def test_the_project_and_its_modules_are_copied_and_not_kept_out() -> None:
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["streamapp"]["modules"]
    copied = {source for source in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE) for source in source.split()}
    assert copied >= {"pyproject.toml", "requirements.lock", "streamapp", *modules}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied


# --- the health check, as Docker would run it


class Worker(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Worker) as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join(10)


def health(port: int) -> int:
    command = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "python"
    env = {**os.environ, "STREAMAPP_WEB_PORT": str(port)}
    return subprocess.run([sys.executable, *command[1:]], env=env, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_what_livez_tells(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    monkeypatch.setattr(Worker, "status", status)
    assert health(server.server_port) == code


def test_a_worker_that_does_not_answer_is_not_healthy(server: HTTPServer) -> None:
    port = server.server_port
    server.shutdown()
    server.server_close()
    assert health(port) == 1


def test_the_health_check_asks_the_port_that_the_worker_listens_on() -> None:
    assert environment()["STREAMAPP_WEB_PORT"] == only("EXPOSE")
