"""A worker comes in by SASL and TLS with the README's settings, and works with the rights that the README lists, and no others."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from streamapp.broker import Broker, BrokerConfig, Listener, Profile
from tests.support.broker import start_for_test
from tests.support.documents import named_block
from tests.support.topics import committed_offsets, end_offsets, wait_until
from tests.support.verifying import command
from tests.support.workers import Workers

USER, PASSWORD = "shop", "s3cret"
RESOURCES = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactional_id": ResourceType.TRANSACTIONAL_ID}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that asks who comes in, and lets nobody do what no rule allows; its plain listener is the administrator's."""
    config = BrokerConfig(
        data_dir=tmp_path_factory.mktemp("guarded-broker"),
        port=0,
        profile=Profile.TEST,
        listeners=dict.fromkeys(Listener, 0),
        users={USER: PASSWORD},
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    node = start_for_test(config)
    yield node
    node.reset()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("pyproject.toml", "visits.py"):
        (folder / name).write_text(named_block("README.md", name))
    return folder


def settings(guarded: Broker, secret: Path, listener: Listener = Listener.SCRAM_TLS) -> dict[str, str]:
    """Return the README's variables, with this broker's address, authority and password for the README's.

    For a listener with one half of SASL over TLS only, the other half's variables are left out.
    """
    secret.write_text(f"{PASSWORD}\n")
    given = dict(re.findall(r"^export (\w+)=(\S+)", named_block("README.md", "security"), re.MULTILINE))
    own = {
        "STREAMAPP_BROKER": guarded.listener_address(listener),
        "STREAMAPP_SASL_PASSWORD_FILE": str(secret),
        "STREAMAPP_SSL_CA_LOCATION": str(guarded.ca_file),
    }
    assert set(own) < set(given)
    assert given["STREAMAPP_SASL_USERNAME"] == USER
    assert given["STREAMAPP_SECURITY_PROTOCOL"] == Listener.SCRAM_TLS.protocol.lower()
    whole = {**given, **own, "STREAMAPP_SECURITY_PROTOCOL": listener.protocol.lower()}
    left_out = [
        *(() if listener.has_users else ("STREAMAPP_SASL_",)),
        *(() if listener.has_certificate else ("STREAMAPP_SSL_",)),
    ]
    return {name: value for name, value in whole.items() if not name.startswith(tuple(left_out))}


def rights(lines: Iterable[str] = ()) -> list[AclBinding]:
    """Return what these `kafka-acls.sh` lines grant, else the README's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap-server")
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", required=True)
    parser.add_argument("--resource-pattern-type", default="literal")
    what = parser.add_mutually_exclusive_group(required=True)
    for name in RESOURCES:
        what.add_argument(f"--{name.replace('_', '-')}")
    found = []
    for line in lines or named_block("README.md", "acls").splitlines():
        command, *words = shlex.split(line)
        assert command == "kafka-acls.sh"
        given = parser.parse_args(words)
        ((kind, name),) = ((kind, value) for kind in RESOURCES if (value := getattr(given, kind)) is not None)
        pattern = ResourcePatternType[given.resource_pattern_type.upper()]
        for operation in given.operation:
            allowed = AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()]
            found.append(
                AclBinding(
                    RESOURCES[kind], name, pattern, given.allow_principal, "*", allowed, AclPermissionType.ALLOW
                )
            )  # fmt: skip
    return found


def grant(guarded: Broker, granted: list[AclBinding]) -> None:
    admin = AdminClient({"bootstrap.servers": guarded.address})  # it lives until the last answer is in
    for done in admin.create_acls(granted).values():
        done.result(30)


def feed(guarded: Broker, *values: bytes) -> None:
    feeder = Producer({"bootstrap.servers": guarded.address})
    for value in values:
        feeder.produce("visits", key=b"home", value=value)
    assert feeder.flush(30) == 0


def test_the_readmes_settings_and_rights_are_enough(guarded: Broker, project: Path, tmp_path: Path) -> None:
    grant(guarded, rights())
    env = settings(guarded, tmp_path / "secret")
    bootstrap = env.pop("STREAMAPP_BROKER")
    with Workers(bootstrap, tmp_path / "workers", cwd=project, **env) as workers:  # type: ignore[arg-type]  # variables only
        worker = workers.start("w1", web=True)
        worker.ready()
        feed(guarded, b'{"page": "home", "seconds": 1}', b"no visit")
        wait_until(lambda: "home: 1" in worker.log_text(), deadline=60, why=worker.tail)
        wait_until(lambda: "dead-lettered to visits-dlq" in worker.log_text(), deadline=60, why=worker.tail)
        assert worker.stop() == 0, worker.tail()
        assert sum(committed_offsets(guarded.address, "shop", ["visits"]).values()) == 2

        shutil.rmtree(worker.data_dir)  # so that the changelog has to be read
        workers.start("w1")
        feed(guarded, b'{"page": "home", "seconds": 1}')
        wait_until(lambda: "home: 2" in worker.log_text(), deadline=60, why=worker.tail)
        assert worker.stop() == 0, worker.tail()
        assert PASSWORD not in worker.log_text()


def test_the_rights_that_config_lists_are_enough(guarded: Broker, project: Path, tmp_path: Path) -> None:
    env = settings(guarded, tmp_path / "secret")
    listed = command("config", "--acls", "--json", bootstrap=env["STREAMAPP_BROKER"], app_id="shop", cwd=project, **env)  # type: ignore[arg-type]  # variables only
    assert listed.code == 0, listed.stderr
    for kind in RESOURCES.values():
        withdraw(guarded, kind)
    grant(guarded, rights([row["line"] for row in listed.documents]))
    bootstrap = env.pop("STREAMAPP_BROKER")
    with Workers(bootstrap, tmp_path / "workers", cwd=project, **env) as workers:  # type: ignore[arg-type]  # variables only
        worker = workers.start("w9")
        feed(guarded, b'{"page": "home", "seconds": 1}', b"no visit")
        # Whatever others of these tests have counted and buried: this worker commits behind both records.
        ends = sum(end_offsets(guarded.address, "visits").values())

        def caught_up() -> bool:
            return sum(committed_offsets(guarded.address, "shop", ["visits"]).values()) == ends

        wait_until(caught_up, deadline=60, why=worker.tail)
        wait_until(lambda: "dead-lettered to visits-dlq" in worker.log_text(), deadline=60, why=worker.tail)
        assert worker.stop() == 0, worker.tail()


@pytest.mark.parametrize("listener", [Listener.SCRAM, Listener.TLS])
def test_a_worker_comes_in_by_each_half_alone(guarded: Broker, project: Path, tmp_path: Path, listener: Listener) -> None:
    grant(guarded, rights())
    env = settings(guarded, tmp_path / "secret", listener)
    bootstrap = env.pop("STREAMAPP_BROKER")
    with Workers(bootstrap, tmp_path / "workers", cwd=project, **env) as workers:  # type: ignore[arg-type]  # variables only
        worker = workers.start("w1", web=True)
        worker.ready()
        assert worker.stop() == 0, worker.tail()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            ResourceType.TRANSACTIONAL_ID,
            r"streamapp: transactional id shop-w1: .*TRANSACTIONAL_ID_AUTHORIZATION_FAILED.*grant .*Write",
        ),
        (ResourceType.GROUP, r"streamapp: group shop: .*GROUP_AUTHORIZATION_FAILED.*grant .*Read"),
    ],
)
def test_a_missing_right_refuses_the_start_with_its_name(
    guarded: Broker, project: Path, tmp_path: Path, kind: ResourceType, said: str
) -> None:
    grant(guarded, [right for right in rights() if right.restype is not kind])
    withdraw(guarded, kind)
    env = settings(guarded, tmp_path / "secret")
    bootstrap = env.pop("STREAMAPP_BROKER")
    with Workers(bootstrap, tmp_path / "workers", cwd=project, **env) as workers:  # type: ignore[arg-type]  # variables only
        worker = workers.start("w1")
        assert worker.wait(60) == 2, worker.tail()
        assert re.search(said, worker.log_text()), worker.tail()
        assert "Traceback" not in worker.log_text()


def withdraw(guarded: Broker, kind: ResourceType) -> None:
    """Take back every right on resources of this kind."""
    anything = AclBindingFilter(kind, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)  # type: ignore[arg-type]  # None is any
    admin = AdminClient({"bootstrap.servers": guarded.address})  # as above
    for done in admin.delete_acls([anything]).values():
        done.result(30)
