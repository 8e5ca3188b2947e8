"""A project is a folder: `[tool.streamapp]` names its modules, `faust -A streamapp` finds it, and its agents, tables and models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.own_project import OwnProject, documents

FILES = {
    "tables/__init__.py": "",
    "tables/sales.py": """
from streamapp import app

sums = app.Table("sums", default=int)
""",
    "agents/__init__.py": "",
    "agents/sales.py": """
import os

import msgspec

from streamapp import app
from tables.sales import sums

APP_ID = os.environ["APP_ID"]


class Sale(msgspec.Struct):
    sku: str
    amount: int = 1


sales = app.topic(f"{APP_ID}-sales", value_type=Sale, partitions=1)
totals = app.topic(f"{APP_ID}-totals", partitions=1)


@app.agent(sales, name="seller")
async def seller(stream):
    async for sale in stream:
        sums[sale.sku] += sale.amount
        await totals.send(key=sale.sku, value=sums[sale.sku])
""",
}


@pytest.fixture(scope="module")
def project(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnProject]:
    folder: Path = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with OwnProject(bootstrap, folder, None) as made:
        (folder / "pyproject.toml").write_text(f'[tool.streamapp]\napp_id = "{made.app_id}"\nmodules = ["tables", "agents"]\n')
        made.worker()
        yield made


def test_send_reaches_an_agent_by_its_name_with_a_model_of_the_project(project: OwnProject) -> None:
    for arguments in (["-V", "agents.sales.Sale", '{"sku": "a", "amount": 2}'], ['{"sku": "a", "amount": 3}']):
        *model, value = arguments
        done = project.faust("send", *model, "@seller", value)
        assert done.returncode == 0, done.stderr
    assert documents(project.wait_for("totals", 2)) == [2, 5]
    assert documents(project.read("sales")) == [{"sku": "a", "amount": 2}, {"sku": "a", "amount": 3}]


def test_a_value_that_is_not_what_the_model_says_is_not_sent(project: OwnProject) -> None:
    before = project.read("sales")
    done = project.faust("send", "-V", "agents.sales.Sale", "@seller", '{"amount": 2}')
    assert done.returncode == 2
    assert "sku" in done.stderr
    assert "Traceback" not in done.stderr
    assert project.read("sales") == before


def test_reset_is_refused_while_the_worker_runs_and_deletes_the_tables_files_after_it(project: OwnProject) -> None:
    worker = project.workers["w1"]
    whose = {"STREAMAPP_WORKER_ID": "w1", "STREAMAPP_DATA_DIR": str(worker.data_dir)}
    refused = project.faust("reset", **whose)
    assert refused.returncode == 2, refused.stderr
    assert str(worker.pid) in refused.stderr
    assert worker.stop() == 0, worker.tail()
    assert list(worker.data_dir.rglob("sums")) != []
    assert project.faust("reset", **whose).returncode == 0
    assert list(worker.data_dir.rglob("sums")) == []
