"""docs/operations.md is complete: a section with commands for each alert, the eight statuses, the log events of transport trouble, the probes."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml

from streamapp.events import Event
from streamapp.monitor.lag.verdict import Status
from tests.support.documents import ROOT, blocks, headings, links, section, text_of

GUIDE: Final = "docs/operations.md"
RULES: Final = yaml.safe_load((ROOT / "observe" / "rules.yaml").read_text())
ALERTS: Final[dict[str, dict[str, Any]]] = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}


def part(title: str) -> str:
    """Return what stands under `### title`."""
    return re.split(r"\n###? ", text_of(GUIDE).split(f"\n### {title}\n", 1)[1], maxsplit=1)[0]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alerts_section_says_how_urgent_it_is_and_what_to_type(alert: str) -> None:
    text = part(alert)
    severity, patience = ALERTS[alert]["labels"]["severity"], ALERTS[alert].get("for")
    assert text.lstrip().lower().startswith(severity)
    assert patience is None or f"after {patience.removesuffix('m')} minutes" in text.split(". ")[0]
    assert [block for block in blocks(text) if block.language == "sh" and block.name is None]


@pytest.mark.parametrize("alert", ALERTS)
def test_the_command_in_an_alert_is_one_of_its_section(alert: str) -> None:
    """With the figures of the alert in place of the guide's."""
    command = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: {"partition": "3", "agent": "order_processor", "topic": "orders-dlq"}[found[1]], ALERTS[alert]["annotations"]["command"])  # fmt: skip
    typed = {line for block in blocks(part(alert)) for line in block.body.splitlines()}
    watched = re.findall(r"`(streamapp [^`]+)`", " ".join(part(alert).split()))
    assert command in typed or any(command.replace(" --partition 3", "") == each for each in watched), command


def test_every_status_is_explained_worst_first() -> None:
    told = re.findall(r"^\| ([A-Z_]+) \|", section(GUIDE, "The eight statuses"), re.MULTILINE)
    assert told == [status.value for status in Status]


def test_every_log_event_that_it_names_is_one_of_the_closed_list() -> None:
    told = re.findall(
        r"^\| `(\w+)`(?:, cause `\w+`)?(?:; `(\w+)`)? \|", section(GUIDE, "What transport trouble looks like"), re.MULTILINE
    )
    named = {name for row in told for name in row if name}
    assert named == {
        "transaction_aborted", "producer_rebuilt", "commit_unknown", "restore_waiting", "store_wiped", "assignment_lost",
    }  # fmt: skip
    assert named <= {event.value for event in Event}


def test_every_probe_is_explained() -> None:
    told = re.findall(r"^\| `(/\w+)", section(GUIDE, "Probes"), re.MULTILINE)
    assert told == ["/livez", "/readyz", "/startupz", "/healthz"]


def test_what_it_points_to_is_there() -> None:
    lost = [
        target
        for target in links(GUIDE)
        if not (ROOT / "docs" / target.partition("#")[0]).exists()
        or ("#" in target and target.partition("#")[2] not in headings(f"docs/{target.partition('#')[0] or 'operations.md'}"))
    ]
    assert len(links(GUIDE)) > 15
    assert lost == []


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:k8s|observe|tests|docs)/[\w./-]*|Dockerfile|docker-compose\.yml)`", text_of(GUIDE)))
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
