"""The alerts that are shipped: each is OPERATIONS §5.5's, fires and does not fire under promtool, names a command to run next and a section to read.

promtool comes with Debian's package `prometheus`. Without it these tests are skipped; where CI is set, they fail.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from streamapp.cli import main
from streamapp.settings import load
from tests.support.documents import ROOT, headings
from tests.support.metric_names import NAMES, named_in
from tests.support.promtool import promtool

RULES: Final = ROOT / "observe" / "rules.yaml"
UNIT_TESTS: Final = Path(__file__).with_name("rules_test.yaml")

SHIPPED: Final = {
    "StreamappDataLost": ("page", None),
    "StreamappAtRisk": ("page", "2m"),
    "StreamappStalled": ("page", "5m"),
    "StreamappBreakerOpen": ("page", "2m"),
    "StreamappDeadLettersNotWritable": ("page", "5m"),
    "StreamappDeadLettersExpireSoon": ("page", None),
    "StreamappNoReadyWorker": ("page", "5m"),
    "StreamappFallingBehind": ("ticket", "10m"),
    "StreamappCliff": ("ticket", "15m"),
    "StreamappNewKindOfDeadLetter": ("ticket", None),
    "StreamappDeadLettersOverOnePercent": ("ticket", "5m"),
    "StreamappDeadLettersUnresolved": ("ticket", None),
    "StreamappDeadLettersExpire": ("ticket", None),
    "StreamappRebalances": ("ticket", None),
    "StreamappTransactionsAbort": ("ticket", "10m"),
    "StreamappRestoreWaits": ("ticket", None),
}
"""Alert -> severity and `for`."""


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def unit_tests() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    return found


def test_the_alerts_are_those_of_the_specification_with_their_severity_and_patience() -> None:
    assert {rule["alert"]: (rule["labels"]["severity"], rule.get("for")) for rule in rules()} == SHIPPED


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_promtool_takes_the_configuration_of_prometheus() -> None:
    promtool("check", "config", str(ROOT / "observe" / "prometheus.yml"))


def test_each_alert_fires_and_does_not_fire_as_its_unit_tests_say() -> None:
    promtool("test", "rules", str(UNIT_TESTS))


def test_each_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    checks = [(each["alertname"], bool(each["exp_alerts"])) for test in unit_tests() for each in test["alert_rule_test"]]
    assert {name for name, fires in checks if fires} == set(SHIPPED)
    assert {
        test["alert_rule_test"][0]["alertname"]
        for test in unit_tests()
        if not any(each["exp_alerts"] for each in test["alert_rule_test"])
    } == set(SHIPPED)


def test_every_metric_that_a_rule_names_is_one_that_workers_tell() -> None:
    named = {name for rule in rules() for text in (rule["expr"], *rule["annotations"].values()) for name in named_in(text)}
    assert len(named) > 20
    assert named <= NAMES


def test_no_rule_tests_a_lag_in_records() -> None:
    assert [rule["alert"] for rule in rules() if "lag_records" in rule["expr"] or "_offset{" in rule["expr"]] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_the_command_to_run_next_is_one_of_ours(rule: dict[str, Any]) -> None:
    words = rule["annotations"]["command"].split(" > ")[0].split()
    assert words[0] == "streamapp"
    command: click.Command = main
    for word in words[1:]:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        if command is main and word not in main.commands:
            return  # test_operations_guide.py keeps the list of verbs that are still to come
        command = command.commands[word]
    known = {option for each in command.params for option in each.opts}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_the_section_to_read_is_there(rule: dict[str, Any]) -> None:
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in headings(document)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_annotation_survives_figures_that_are_unknown(rule: dict[str, Any]) -> None:
    """A query without an answer has no first element, and a template that fails is all that its reader gets."""
    for text in rule["annotations"].values():
        assert (
            len(re.findall(r"\bquery\b", text)) == len(re.findall(r"\bwith (?:printf|query)\b", text)) == text.count("{{ else }}")
        )


def test_a_restores_patience_follows_from_the_default_of_the_transaction_timeout() -> None:
    (rule,) = (each for each in rules() if each["alert"] == "StreamappRestoreWaits")
    default = load({"app_id": "any"}, {}, {}).transaction.transaction_timeout
    assert rule["expr"].endswith(f"> {default + 10:g}")
