"""The `faust` command on a streamapp app: its own commands work, and a start that cannot be is refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workers import FAUST, ROOT

NOWHERE = "127.0.0.1:1"


def faust(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `faust` without any setting from outside."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMAPP_", "FAUST_", "F_"))}
    return subprocess.run(
        [str(FAUST), *arguments],
        cwd=cwd,
        env={**outside, "PYTHONPATH": str(ROOT), "STREAMAPP_WEB_PORT": "0", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that says why, and see that it is no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("streamapp: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with an app of another name."""
    (tmp_path / "shop.py").write_text(
        """
from streamapp import StreamApp

app = StreamApp("shop")
sales = app.topic("sales", "returns", value_type=int, partitions=2)
totals = app.Table("totals", default=int, help="Sums")


@app.agent(sales)
async def add_up(stream):
    "Add up sales."
    async for amount in stream:
        totals["all"] += amount


@app.command()
async def greet(self):
    "Greet."
    self.say("hello from " + app.conf.id)


if __name__ == "__main__":
    app.main()
"""
    )
    return tmp_path


def test_agents_lists_the_projects_agents() -> None:
    done = faust("--json", "-A", "streamapp", "agents")
    assert done.returncode == 0, done.stderr
    assert {row["name"]: row["topic"] for row in json.loads(done.stdout)} == {
        "@order_processor": "orders",
        "@sku_demand": "sku-demand",
        "@dead_letter_triage": "orders-dlq",
    }


def test_the_project_is_found_from_a_folder_below() -> None:
    assert "order_processor" in faust("-A", "streamapp", "agents", cwd=ROOT / "tests" / "support").stdout


def test_tables_lists_the_projects_tables() -> None:
    tables = faust("-A", "streamapp", "tables")
    assert tables.returncode == 0, tables.stderr
    assert {"customer_totals", "processed_orders", "sku_totals", "dead_letters"} <= set(tables.stdout.split())


def test_models_lists_the_types_of_the_projects_topics_and_tables() -> None:
    models = faust("-A", "streamapp", "models")
    assert models.returncode == 0, models.stderr
    assert {"agents.order_models.Order", "tables.orders.CustomerTotal"} <= set(models.stdout.split())


@pytest.mark.parametrize("kind", ["Struct", "Record", "Model", "Data"])
def test_model_shows_the_fields_of_every_kind(tmp_path: Path, kind: str) -> None:
    shutil.copy(ROOT / "tests" / "acceptance" / "apps" / "kinds.py", tmp_path / "shop.py")
    done = faust("-A", "shop", "model", kind, cwd=tmp_path, APP_ID="kinds")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
    assert rows == [["field", "type", "default"], ["name", "str", "*"], ["n", "int", "0"]]


def test_a_model_that_nobody_knows_is_refused_with_the_nearest() -> None:
    done = faust("-A", "streamapp", "model", "agents.order_models.Ordr")
    assert done.returncode == 2
    assert "Did you mean one of agents.order_models.Order," in refusal(done)


def test_help_shows_fausts_commands_and_ours() -> None:
    done = faust("-A", "streamapp", "--help")
    assert done.returncode == 0, done.stderr
    for command in ("agents", "worker", "send", "tables", "broker"):
        assert f"\n  {command} " in done.stdout


def test_a_module_of_the_project_can_be_imported_by_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import tables.orders, agents.orders"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_app_of_another_name(shop: Path) -> None:
    agents = faust("--json", "-A", "shop", "agents", cwd=shop)
    assert json.loads(agents.stdout) == [{"name": "@add_up", "topic": "sales, returns", "help": "Add up sales."}]
    assert faust("-A", "shop", "greet", cwd=shop).stdout == "hello from shop\n"
    assert "greet" in faust("-A", "shop", "--help", cwd=shop).stdout


def test_an_app_is_its_own_command(shop: Path) -> None:
    done = subprocess.run(
        [sys.executable, "shop.py", "agents"],
        cwd=shop, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "add_up" in done.stdout, done.stderr


@pytest.mark.parametrize("command", ["worker", "agents", "--help"])
def test_a_broken_module_stops_every_command_and_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.streamapp]\napp_id = "p"\nmodules = ["agents"]\n')
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").touch()
    (tmp_path / "agents" / "broken.py").write_text("import streamapp\n\nraise ValueError('at 3')\n")
    done = faust("-A", "streamapp", command, cwd=tmp_path)
    assert done.returncode == 2
    assert refusal(done).endswith("module agents.broken could not be imported: agents/broken.py:3: ValueError: at 3")


def test_no_project_is_refused(tmp_path: Path) -> None:
    done = faust("-A", "streamapp", "worker", cwd=tmp_path)
    assert done.returncode == 2
    assert "[tool.streamapp]" in refusal(done)


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        ('app.topic("a", acks=False)', "acks"),
        ('app.Table("t").tumbling(10)', "windowed tables are not built yet"),
        ('app.SetTable("t")', "SetTable"),
        ("app.agent(app.channel())", "channel"),
        ('StreamApp("x", brokr="y")', "did you mean broker"),
    ],
)
def test_a_declaration_that_cannot_work_refuses_the_start(tmp_path: Path, declaration: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(f'from streamapp import StreamApp\napp = StreamApp("bad")\n{declaration}\n')
    done = faust("-A", "bad", "worker", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in refusal(done)


def test_a_wrong_setting_is_refused_with_its_name_value_and_range(shop: Path) -> None:
    done = faust("-A", "shop", "worker", cwd=shop, STREAMAPP_COMMIT_INTERVAL="40")
    assert done.returncode == 2
    assert refusal(done) == "streamapp: STREAMAPP_COMMIT_INTERVAL=40: must be 0.01 to 10 (a third of transaction_timeout)"


def test_a_web_port_in_use_refuses_the_start_and_names_the_variable(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = faust("-A", "shop", "worker", cwd=shop, STREAMAPP_WEB_PORT=port, STREAMAPP_BROKER=NOWHERE)
    assert done.returncode == 2, done.stderr
    assert f"STREAMAPP_WEB_PORT={port}" in refusal(done)


def test_no_broker_at_start_is_exit_3(shop: Path) -> None:
    done = faust("-A", "shop", "worker", cwd=shop, STREAMAPP_BROKER=NOWHERE, STREAMAPP_START_TIMEOUT="1")
    assert done.returncode == 3, done.stderr
    assert NOWHERE in refusal(done)


def test_a_send_that_does_not_arrive_is_no_success(shop: Path) -> None:
    done = faust("-A", "shop", "send", "sales", "1", cwd=shop, STREAMAPP_BROKER=NOWHERE, STREAMAPP_TRANSACTION_TIMEOUT="2")
    assert done.returncode == 1
    assert "topic sales" in refusal(done)


def test_a_script_whose_send_does_not_arrive_ends_with_1(shop: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import shop; shop.app.topic('sales').send_soon(value=1); print('done')"],
        cwd=shop, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "STREAMAPP_BROKER": NOWHERE, "STREAMAPP_TRANSACTION_TIMEOUT": "2"},
    )  # fmt: skip
    assert done.stdout == "done\n"
    assert done.returncode == 1
    assert "topic sales" in refusal(done)
