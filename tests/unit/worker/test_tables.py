"""A table is a mapping whose values are the record's own copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faust
import msgspec
import pydantic
import pytest

from streamapp import StreamApp
from streamapp.errors import ConfigurationError, OutsideWorker, TopologyInvalid, Unsupported
from streamapp.worker.harness import MemoryTable


class Row(msgspec.Struct):
    n: int = 0


@dataclass
class DataRow:
    n: int = 0


class ModelRow(pydantic.BaseModel):
    n: int = 0


class FaustRow(faust.Record):
    n: int = 0


def bound(app: Any, **options: Any) -> Any:
    table = app.Table("t", **options)
    table.bind(MemoryTable("t"))
    return table


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Row, Row(3)),
        (DataRow, DataRow(3)),
        (ModelRow, ModelRow(n=3)),
        (FaustRow, FaustRow(n=3)),
        (int, 3),
        (str, "drei"),
        (bytes, b"\x00\xff"),
        (dict[str, int], {"a": 1}),
        (set[str], {"a"}),
        (None, {"a": [1, None]}),
    ],
)
def test_values_of_every_kind_come_back_as_they_were(app: StreamApp, type_: Any, value: Any) -> None:
    table = bound(app, value_type=type_)
    table["k"] = value
    assert table["k"] == value


def test_a_value_is_a_copy_that_changes_nothing_until_it_is_set(app: StreamApp) -> None:
    table = bound(app, default=list)
    given = table["k"] = [1]
    given.append(3)
    table["k"].append(2)
    assert table["k"] == [1]


def test_a_missing_key_reads_as_the_default_and_is_not_written(app: StreamApp) -> None:
    table = bound(app, default=int)
    assert table["k"] == 0
    assert table.get("k") == 0
    assert table.get("k", 7) == 7
    assert "k" not in table
    assert len(table) == 0
    table["k"] += 1
    assert dict(table.items()) == {"k": 1}


def test_without_a_default_a_missing_key_is_an_error(app: StreamApp) -> None:
    table = bound(app)
    with pytest.raises(KeyError):
        table["k"]
    with pytest.raises(KeyError):
        del table["k"]
    assert table.get("k") is None


def test_it_is_a_whole_mapping(app: StreamApp) -> None:
    table = bound(app)
    table.update({"a": 1}, b=2)
    assert table.setdefault("c", 3) == 3
    assert table.setdefault("a", 9) == 1
    assert table.pop("a") == 1
    assert table.pop("a", None) is None
    assert sorted(table) == sorted(table.keys()) == ["b", "c"]
    assert sorted(table.values()) == [2, 3]
    assert len(table.items()) == 2
    del table["b"]
    table.clear()
    assert list(table.items()) == []


def test_keys_are_json_in_the_changelog(app: StreamApp) -> None:
    table = bound(app)
    handle = table._handle
    table["ann"], table[5], table["a", 1] = 1, 2, 3
    assert sorted(handle.rows) == [b'"ann"', b"5", b'["a",1]']
    assert ("a", 1) in list(table)


def test_none_is_a_value_and_no_deletion(app: StreamApp) -> None:
    table = bound(app)
    table["k"] = None
    assert "k" in table
    assert table["k"] is None


def test_a_model_without_value_type_is_refused_at_the_write(app: StreamApp) -> None:
    with pytest.raises(TypeError, match="value_type=Row"):
        bound(app)["k"] = Row()


def test_a_model_as_default_is_the_value_type(app: StreamApp) -> None:
    table = bound(app, default=Row)
    table["k"] = Row(4)
    assert table["k"] == Row(4)


def test_outside_a_worker_every_use_says_so(app: StreamApp) -> None:
    table = app.Table("t", default=int)
    uses: list[Any] = [
        lambda: table["k"],
        lambda: table.get("k"),
        lambda: "k" in table,
        lambda: len(table),
        lambda: list(table.items()),
    ]
    for use in uses:
        with pytest.raises(OutsideWorker, match="worker"):
            use()
    with pytest.raises(OutsideWorker):
        table["k"] = 1


@pytest.mark.parametrize("call", ["tumbling", "hopping", "using_window", "join"])
def test_what_is_not_built_is_refused(app: StreamApp, call: Any) -> None:
    with pytest.raises(Unsupported, match="table t"):
        getattr(app.Table("t"), call)(10)


@pytest.mark.parametrize("kind", ["SetTable", "GlobalTable", "SetGlobalTable"])
def test_other_kinds_of_tables_are_refused_with_a_way_that_works(app: StreamApp, kind: Any) -> None:
    with pytest.raises(Unsupported, match="not built yet"):
        getattr(app, kind)("t")


def test_two_tables_of_one_name_are_refused(app: StreamApp) -> None:
    app.Table("t")
    with pytest.raises(TopologyInvalid, match="two tables"):
        app.dedupe_table("t", horizon=1)


def test_a_dedupe_table_needs_a_horizon_and_a_function(app: StreamApp) -> None:
    with pytest.raises(ConfigurationError, match="horizon"):
        app.dedupe_table("a", horizon=0)
    with pytest.raises(ConfigurationError, match="function"):
        app.dedupe_table("b", horizon=1).by("id")  # type: ignore[arg-type]  # what it refuses
