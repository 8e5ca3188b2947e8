"""A whole worker runs through SCRAM, TLS and both, every client of it; one that is not let in says so in a line that holds no secret."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from streamapp.broker import Broker, BrokerConfig, Listener, Profile
from streamapp.kafka.transactions import open_producers
from streamapp.kafka.wire import access_of
from streamapp.records import Partition
from streamapp.settings import load
from tests.support.broker import start_for_test
from tests.support.topics import create_topic, wait_until, watermarks
from tests.support.word_app import WordApp, said

PASSWORD: Final = "s3cret-of-ann"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    config = BrokerConfig(
        data_dir=tmp_path_factory.mktemp("secure-broker"),
        port=0,
        profile=Profile.TEST,
        listeners=dict.fromkeys(Listener, 0),
        users={"ann": PASSWORD},
    )
    node = start_for_test(config)
    yield node
    node.reset()


@pytest.fixture
def app(secure: Broker, tmp_path: Path) -> Iterator[WordApp]:
    """The test's own clients use the open listener, the workers those that a test names."""
    with WordApp(secure.address, tmp_path / "words") as made:
        yield made


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """The password as an editor or a secret store leaves it: with a line's end."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


def by_scram(secure: Broker, **secret: str) -> dict[str, str]:
    return {
        "STREAMAPP_BROKER": secure.listener_address(Listener.SCRAM),
        "STREAMAPP_SECURITY_PROTOCOL": "sasl_plaintext",
        "STREAMAPP_SASL_MECHANISM": "SCRAM-SHA-512",
        "STREAMAPP_SASL_USERNAME": "ann",
        **secret,
    }


def by_tls(secure: Broker) -> dict[str, str]:
    return {
        "STREAMAPP_BROKER": secure.listener_address(Listener.TLS),
        "STREAMAPP_SECURITY_PROTOCOL": "ssl",
        "STREAMAPP_SSL_CA_LOCATION": str(secure.ca_file),
    }


def by_both(secure: Broker) -> dict[str, str]:
    return {
        **by_scram(secure, STREAMAPP_SASL_PASSWORD=PASSWORD),
        **by_tls(secure),
        "STREAMAPP_BROKER": secure.listener_address(Listener.SCRAM_TLS),
        "STREAMAPP_SECURITY_PROTOCOL": "sasl_ssl",
    }


def test_a_worker_restores_works_and_commits_through_every_door(secure: Broker, app: WordApp, password_file: Path) -> None:
    doors = [
        (by_scram(secure, STREAMAPP_SASL_PASSWORD_FILE=str(password_file)), "exactly_once"),
        (by_tls(secure), "exactly_once"),
        (by_both(secure), "at_least_once"),
    ]
    for door, guarantee in doors:
        # An address that a broker advertises belongs to the listener that was asked, so no client can slip out by another one.
        worker = app.start("w1", **door, STREAMAPP_PROCESSING_GUARANTEE=guarantee)
        app.feed(["a", "b", "a", "c"])
        app.wait_until_done()
        assert worker.stop() == 0
        assert PASSWORD not in worker.log_text()
        # The next life counts on from what it restores through its own door.
        shutil.rmtree(worker.data_dir)
    log = app.workers["w1"].log_text()
    assert all(f"Restored {app.changelog}/{number}" in log for number in (0, 1))
    wait_until(
        lambda: all(stable == high for stable, high in watermarks(app.bootstrap, [app.numbered, app.changelog]).values()),
        why=lambda: "a transaction is open",
    )


def refused(app: WordApp, code: int, **env: str) -> str:
    done = app.run("worker", **env)
    assert done.returncode == code, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert "guess" not in done.stdout + done.stderr
    (line,) = said(done.stderr)
    return line


def test_a_wrong_password_refuses_the_start(secure: Broker, app: WordApp) -> None:
    line = refused(app, 2, **by_scram(secure, STREAMAPP_SASL_PASSWORD="guess"))
    for part in ("STREAMAPP_SASL_USERNAME=ann", "Authentication failed", "STREAMAPP_SASL_PASSWORD"):
        assert part in line


def test_a_certificate_that_nobody_vouches_for_refuses_the_start(secure: Broker, app: WordApp) -> None:
    line = refused(app, 2, **{**by_tls(secure), "STREAMAPP_SSL_CA_LOCATION": "probe"})
    for part in ("STREAMAPP_SSL_CA_LOCATION=probe", "not trusted", "certificate verify failed"):
        assert part in line


def test_the_wrong_protocol_is_a_broker_that_does_not_answer_with_the_likely_cause(secure: Broker, app: WordApp) -> None:
    tls = secure.listener_address(Listener.TLS)
    line = refused(app, 3, STREAMAPP_BROKER=tls, STREAMAPP_START_TIMEOUT="2")
    assert tls in line
    assert "is STREAMAPP_SECURITY_PROTOCOL=plaintext what that port speaks?" in line


def test_a_secret_given_twice_or_in_no_file_refuses_the_start(secure: Broker, app: WordApp, password_file: Path) -> None:
    twice = {"STREAMAPP_SASL_PASSWORD": "guess", "STREAMAPP_SASL_PASSWORD_FILE": str(password_file)}
    line = refused(app, 2, **by_scram(secure, **twice))
    for name in twice:
        assert name in line
    line = refused(app, 2, **by_scram(secure, STREAMAPP_SASL_PASSWORD_FILE="/no/such/file"))
    assert line.startswith("streamapp: STREAMAPP_SASL_PASSWORD_FILE=/no/such/file: must be a readable file")


@pytest.mark.parametrize("listener", list(Listener))
def test_open_transactions_are_told_through_each_listener(secure: Broker, app: WordApp, listener: Listener) -> None:
    create_topic(secure.address, app.words, 1)
    settings = load(
        {
            "app_id": "looking",
            "broker": secure.listener_address(listener),
            "security_protocol": listener.protocol.lower(),
            **(
                {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "ann", "sasl_password": PASSWORD}
                if listener.has_users
                else {}
            ),
            **({"ssl_ca_location": str(secure.ca_file)} if listener.has_certificate else {}),
        },
        {},
        {},
    )
    host, port = settings.broker.broker.split(":")
    where = Partition(app.words, 0)
    access = access_of(settings.broker)
    assert open_producers((host, int(port)), [where], 20, access) == {where: []}
    wrong = replace(access, password="another") if listener.has_users else replace(access, tls=ssl.create_default_context())
    with pytest.raises(OSError, match=r"does not let ann in|certificate verify failed"):
        open_producers((host, int(port)), [where], 20, wrong)
