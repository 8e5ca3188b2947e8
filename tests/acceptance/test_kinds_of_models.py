"""Each kind of model goes through a real broker: in, out, and into a table that an empty disk gets back from its changelog."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.support.kafka_records import Rec
from tests.support.own_project import OwnProject

KINDS: dict[str, tuple[bytes, bytes]] = {
    "Struct": (b'{"name":"ann","n":1}', b'{"name":"bea","n":2}'),
    "Record": (b'{"name":"ann","n":1,"__faust":{"ns":"shop.Record"}}', b'{"name":"bea","n":2,"__faust":{"ns":"shop.Record"}}'),
    "Model": (b'{"name":"ann","n":1}', b'{"name":"bea","n":2}'),
    "Data": (b'{"name":"ann","n":1}', b'{"name":"bea","n":2}'),
    "dict": (b'{"a":[1,null]}', b'{"b":{"c":"\xc3\xa9"}}'),
    "bytes": (b"\x00\xff", b"not json"),
    "str": (b'"ann"', b'"b\xc3\xa9a"'),
}
"""The first and the second value of each, as they stand in Kafka."""


@pytest.fixture(scope="module")
def outputs(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Rec]]:
    """What came out of each: for the first value in a worker's first life, for the second in another, which begins without files."""
    with OwnProject(bootstrap, tmp_path_factory.mktemp("kinds"), "kinds") as project:
        worker = project.worker()
        for life in (0, 1):
            for kind, values in KINDS.items():
                project.feed(kind, values[life])
            outputs = project.wait_for_all(dict.fromkeys((f"{kind}-out" for kind in KINDS), 1 + 2 * life))
            if life == 0:
                assert worker.stop() == 0, worker.tail()
                shutil.rmtree(worker.data_dir)
                project.worker()
        return outputs


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_comes_out_as_it_came_in(outputs: dict[str, list[Rec]], kind: str) -> None:
    sent = [rec for rec in outputs[f"{kind}-out"] if rec.key == b"now"]
    assert [same(rec.value, kind) for rec in sent] == [same(raw, kind) for raw in KINDS[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_agent_sees_an_object_of_the_declared_kind(outputs: dict[str, list[Rec]], kind: str) -> None:
    seen = [dict(rec.headers) for rec in outputs[f"{kind}-out"] if rec.key == b"now"]
    assert [one["type"] for one in seen] == [kind.encode()] * 2
    assert [one["type-before"] for one in seen] == [b"NoneType", kind.encode()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_gives_it_back_to_a_worker_without_files(outputs: dict[str, list[Rec]], kind: str) -> None:
    restored = [rec for rec in outputs[f"{kind}-out"] if rec.key == b"before"]
    assert [same(rec.value, kind) for rec in restored] == [same(KINDS[kind][0], kind)]


def same(raw: bytes | None, kind: str) -> Any:
    """Return what must be equal: bytes to the byte, JSON by its meaning."""
    return raw if kind == "bytes" or raw is None else json.loads(raw)
