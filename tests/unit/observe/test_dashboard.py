"""The Grafana dashboard that is shipped: its rows are OPERATIONS §8's, promtool parses its every query, and it asks for metrics that exist.

Grafana itself is not run here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from streamapp.monitor.lag.verdict import Status
from tests.support.documents import ROOT
from tests.support.metric_names import NAMES, named_in
from tests.support.promtool import promtool

DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "observe" / "grafana.json").read_text())
VARIABLES: Final = {"$group": ".*", "$job": ".*", "$__rate_interval": "1m", "$__range": "3h", "${datasource}": "prometheus"}
COLUMNS: Final = 24
"""Of Grafana's grid."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """Yield every query, its variables replaced as Grafana does."""
    written = [target["expr"] for panel in panels() for target in panel["targets"]]
    written += [mark["expr"] for mark in DASHBOARD["annotations"]["list"]]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            written.append(f"group by ({asked[2]}) ({asked[1]})")
    for query in written:
        filled = query
        for variable, value in VARIABLES.items():
            filled = filled.replace(variable, value)
        yield filled


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    asked = list(queries())
    assert len(asked) > 35
    assert [query for query in asked if "$" in query] == []
    generated = tmp_path / "queries.yaml"
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(asked)]
    generated.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(generated))


def test_every_metric_that_it_asks_for_is_one_that_workers_tell() -> None:
    named = {name for query in queries() for name in named_in(query)}
    assert len(named) > 25
    assert named <= NAMES


def test_its_rows_are_what_an_operator_looks_for_in_that_order() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    for row, about in zip(
        rows, ("verdict", "age", "growth", "time to loss", "dead letters", "transactions", "rebalances"), strict=True
    ):
        assert about in row.lower()


def test_every_status_has_a_colour_of_its_own() -> None:
    (panel,) = (each for each in panels() if each["title"] == "Partitions by status")
    colours = {
        each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"] for each in panel["fieldConfig"]["overrides"]
    }
    assert set(colours) == set(Status)
    assert len(set(colours.values())) == len(Status)


def test_its_panels_have_numbers_of_their_own_and_lie_side_by_side() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= COLUMNS
        taken |= cells


def test_grafana_is_told_where_the_dashboard_and_its_data_are() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    (provider,) = yaml.safe_load((ROOT / "observe" / "grafana" / "dashboards" / "streamapp.yml").read_text())["providers"]
    (source,) = yaml.safe_load((ROOT / "observe" / "grafana" / "datasources" / "prometheus.yml").read_text())["datasources"]
    mounts = dict(mount.split(":")[:2] for mount in compose["grafana"]["volumes"])
    assert mounts["./observe/grafana.json"] == f"{provider['options']['path']}/streamapp.json"
    assert mounts["./observe/grafana"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose


def test_prometheus_scrapes_the_workers_of_the_compose_file_and_reads_the_rules() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    config = yaml.safe_load((ROOT / "observe" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    workers = {name for name, service in compose.items() if name.startswith("w-")}
    assert {target.rpartition(":")[0] for target in job["static_configs"][0]["targets"]} == workers
    mounts = dict(mount.split(":")[:2] for mount in compose["prometheus"]["volumes"])
    for file in ("prometheus.yml", *config["rule_files"]):
        assert mounts[f"./observe/{file}"] == f"/etc/prometheus/{file}"
