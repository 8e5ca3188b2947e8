"""The options of `streamapp broker` mean what they say, and a mistake in one is a line, not a traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.broker import Profile
from streamapp.broker.ports import pick_free
from streamapp.cli.broker import broker_group


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A KAFKA_HOME that is good enough to come as far as the ports."""
    (tmp_path / "kafka" / "libs").mkdir(parents=True)
    (tmp_path / "kafka" / "libs" / "kafka_2.13-4.2.0.jar").touch()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "kafka"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(broker_group, arguments)


@pytest.mark.parametrize("profile", [profile.value for profile in Profile])
def test_each_profile_is_taken_by_its_name(home: Path, profile: str) -> None:
    with socket.create_server(("127.0.0.1", port := pick_free())):
        result = invoke("start", "--profile", profile, "--port", str(port), "--listener", "scram-tls:0", "--user", "ann:secret")
    assert result.exit_code == 2
    assert f"port {port} on 127.0.0.1 is taken" in result.stderr
    assert (home / ".streamapp" / "broker").is_dir()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--listener", "ssl"], "must be scram, tls, scram-tls"),
        (["--listener", "tls:http"], "must be scram, tls, scram-tls"),
        (["--user", "ann"], "must be NAME:PASSWORD"),
        (["--listener", "scram"], "needs at least one user"),
        (["--profile", "prod"], "'dev', 'test', 'bench'"),
        (["--port", "99999"], "99999"),
    ],
)
def test_a_mistake_names_what_is_allowed(home: Path, options: list[str], says: str) -> None:
    result = invoke("start", *options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (home / ".streamapp").exists()


@pytest.mark.parametrize(("verb", "code"), [("stop", 0), ("status", 3), ("reset", 0), ("logs", 3)])
def test_where_no_broker_ever_was_each_verb_says_so(home: Path, verb: str, code: int) -> None:
    result = invoke(verb)
    assert result.exit_code == code
    assert str(home / ".streamapp" / "broker") in result.output


def test_reset_leaves_alone_what_is_no_brokers(home: Path) -> None:
    result = invoke("reset", "--execute", "--data-dir", str(home))
    assert result.exit_code == 5
    assert (home / "kafka").is_dir()
