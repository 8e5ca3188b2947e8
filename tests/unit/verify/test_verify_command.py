"""`streamapp verify` refuses what cannot be in one line and with exit code 2, before it asks any broker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamapp.cli import main

NOWHERE = "127.0.0.1:1"
APP = """
from streamapp import StreamApp

app = StreamApp("shop", broker="kafka://{broker}")
sales = app.topic("sales", value_type=int, partitions=2)
totals = app.Table("totals", default=int)
other = 3


@app.agent(sales)
async def add_up(stream):
    async for amount in stream:
        totals["all"] += amount
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app, nothing from outside, and no broker."""
    for name in list(os.environ):
        if name.startswith("STREAMAPP_"):
            monkeypatch.delenv(name)
    (tmp_path / "shop_to_verify.py").write_text(APP.format(broker=NOWHERE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("shop_to_verify", None)


def verify(*options: str) -> Result:
    return CliRunner().invoke(main, ["verify", "-A", "shop_to_verify", "--timeout", "0.3", *options])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--duplicates", "sales"], "belong together"),
        (["--by", "key"], "belong together"),
        (["--duplicates", "sales", "--by", "value"], "--by value: must be key, header:NAME or json:FIELD"),
        (["--only", "duplicates"], "--duplicates TOPIC --by"),
        (["--only", "everything"], "'everything' is not one of"),
        (["--data-dir", "nothing"], "nothing: no worker's data directory"),
        (["--worker", "localhost:6066"], "--worker localhost:6066: must be the http:// or https:// URL"),
        (["--max-lag", "-1"], "--max-lag"),
        (["--timeout", "0"], "--timeout"),
    ],
)
def test_options_that_cannot_be_are_refused(options: list[str], told: str) -> None:
    result = verify(*options)
    assert (result.exit_code, told in result.output) == (2, True), result.output
    assert "Traceback" not in result.output


def test_an_app_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(main, ["verify", "-A", "no_such_app"])
    assert (result.exit_code, "-A no_such_app: ModuleNotFoundError" in result.output) == (2, True), result.output


def test_what_is_no_app_is_refused() -> None:
    result = CliRunner().invoke(main, ["verify", "-A", "shop_to_verify:other"])
    assert (result.exit_code, "-A shop_to_verify:other" in result.output) == (2, True), result.output


def test_a_module_that_fails_to_import_is_told_with_its_error(shop: Path) -> None:
    (shop / "broken_shop.py").write_text("raise RuntimeError('half written')")
    result = CliRunner().invoke(main, ["verify", "-A", "broken_shop"])
    assert (result.exit_code, "-A broken_shop: RuntimeError: half written" in result.output) == (2, True), result.output


def test_no_broker_is_exit_code_3_and_names_the_address() -> None:
    result = verify()
    assert (result.exit_code, NOWHERE in result.output) == (3, True), result.output
    assert len(result.output.strip().splitlines()) == 1
