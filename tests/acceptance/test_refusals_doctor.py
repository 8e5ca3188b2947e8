"""What a broker would refuse a running worker for good refuses its start, in one line with the fix; `doctor` says the same beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streamapp.broker import Broker
from tests.support.topics import PATIENCE, create_topic
from tests.support.word_app import WordApp, said

STRICT = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "group.max.session.timeout.ms": "20000",
    "transaction.max.timeout.ms": "20000",
}
FITTING = {"STREAMAPP_SESSION_TIMEOUT": "10", "STREAMAPP_TRANSACTION_TIMEOUT": "10"}


def allow_only(bootstrap: str, topic: str, *operations: AclOperation) -> None:
    """Let everybody do these things to the topic, and nothing else."""
    rows = [
        AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:*", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    client = AdminClient({"bootstrap.servers": bootstrap})
    for made in client.create_acls(rows).values():
        made.result(PATIENCE)


def refused(app: WordApp, **env: str) -> str:
    done = app.run("worker", **{**FITTING, **env})
    assert done.returncode == 2, done.stderr
    (line,) = said(done.stderr)
    return line


def test_a_start_that_the_broker_would_not_let_work_is_refused_with_its_fix(
    new_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    with WordApp(new_broker(properties=STRICT).address, tmp_path / "words") as app:
        create_topic(app.bootstrap, app.words, 2)
        create_topic(app.bootstrap, app.dlq, 2)
        line = refused(app, STREAMAPP_SESSION_TIMEOUT="30")
        assert line.startswith("streamapp: G07: STREAMAPP_SESSION_TIMEOUT=30: the broker takes 1 to 20 s")
        line = refused(app, STREAMAPP_TRANSACTION_TIMEOUT="30")
        assert line.startswith("streamapp: G07: STREAMAPP_TRANSACTION_TIMEOUT=30: the broker takes 20 s at most")
        allow_only(app.bootstrap, app.dlq, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.READ)
        allow_only(app.bootstrap, app.words, AclOperation.DESCRIBE, AclOperation.READ)
        line = refused(app)
        assert line.startswith(f"streamapp: D01: {app.dlq} may not be written to")
        assert (
            f"kafka-acls.sh --bootstrap-server {app.bootstrap} --add --allow-principal User:ANONYMOUS --operation Write" in line
        )
        done = app.run("doctor", "--only", "D01,C03,T05", "--json", **FITTING)
        rows = [json.loads(row) for row in done.stdout.splitlines()]
        assert done.returncode == 1, done.stderr
        assert [(row["id"], row["level"], row["subject"]) for row in rows] == [
            ("D01", "error", app.dlq),
            ("T05", "unchecked", app.words),
        ]
        assert "DescribeConfigs" in rows[1]["line"]
