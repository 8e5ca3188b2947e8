"""Each check of the doctor: what makes it fire, with its level and its figures, and what, close by, does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamapp.doctor.catalogue import CATALOGUE
from streamapp.doctor.check import examine
from streamapp.doctor.facts import NOT_ASKED, Directory, Facts, Unread
from streamapp.monitor.finding import Finding, Level
from tests.support.doctor_cases import CASES, CHECKS, Case, held
from tests.support.doctor_facts import SEEN, TOTALS, a_worker, an_app, configs, healthy


def found(case: Case) -> list[Finding]:
    return examine(CHECKS[case.id], case.facts)


@pytest.mark.parametrize("case", [case for case in CASES if case.level is not None], ids=lambda case: case.id)
def test_it_fires_with_its_level_its_figures_and_its_fix(case: Case) -> None:
    whole = found(case)
    fitting = [each for each in whole if all(part in f"{each.line} {each.why} {each.fix}" for part in case.says)]
    assert [each.level for each in fitting] == [case.level], whole
    assert all(each.id == case.id and each.line and each.why and each.fix for each in fitting)


@pytest.mark.parametrize("case", [case for case in CASES if case.level is None], ids=lambda case: case.id)
def test_it_does_not_fire_beside_its_limit(case: Case) -> None:
    assert found(case) == []


@pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.id)
def test_every_check_has_a_case_that_fires_and_one_that_does_not(check: Any) -> None:
    levels = {case.level for case in CASES if case.id == check.id}
    assert None in levels
    assert check.level in levels, f"none with the worst that it finds, {check.level}"
    assert levels - {None}, "none fires"


def test_a_healthy_app_has_no_finding() -> None:
    assert [each for check in CATALOGUE for each in examine(check, healthy())] == []


# --- what could not be read

FACTS_OF_SETTINGS_ALONE = {"C01", "C05"}
"""What they read besides settings only adds a figure."""


def with_only(facts: Facts, reads: tuple[str, ...], reason: str | None = None) -> Facts:
    """Leave the facts that `reads` names; with a reason, make all of those unreadable instead."""
    gathered = [name for name in Facts.__dataclass_fields__ if Facts.__dataclass_fields__[name].default is NOT_ASKED]
    changes: dict[str, Any] = {name: NOT_ASKED for name in gathered if name not in reads}
    if reason is not None:
        changes = dict.fromkeys(gathered, Unread(reason))
    return replace(facts, **changes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_check_finds_the_same_without_the_facts_that_it_does_not_name(case: Case) -> None:
    check = CHECKS[case.id]
    assert examine(check, with_only(case.facts, check.reads)) == found(case)


@pytest.mark.parametrize(
    "check", [check for check in CATALOGUE if check.id not in FACTS_OF_SETTINGS_ALONE], ids=lambda check: check.id
)
def test_what_could_not_be_read_is_a_finding_with_its_reason(check: Any) -> None:
    cases = [case for case in CASES if case.id == check.id and case.level is not None]
    said = [each for case in cases for each in examine(check, with_only(case.facts, (), "Describe is not granted"))]
    assert any(each.level is Level.UNCHECKED and "Describe is not granted" in each.line for each in said), said


@pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.id)
def test_an_app_whose_code_is_not_known_is_no_pass_where_its_topics_matter(check: Any) -> None:
    bare = an_app(agents=(), tables=(), topics=frozenset(), unloaded="no module named tables")
    said = examine(check, healthy(app=bare))
    needs = {"G01", "G02", "G03", "G08", "C01", "C02", "C04", "X01"} | {f"P0{n}" for n in range(1, 8)}
    needs |= {f"T0{n}" for n in (1, 4, 5, 6, 7)} | {f"D0{n}" for n in range(1, 5)}
    assert [each.level for each in said] == ([Level.UNCHECKED] if check.id in needs else [])


def test_settings_that_may_not_be_seen_leave_the_other_topics_checked() -> None:
    hidden = {name: config for name, config in configs(TOTALS, cleanup_policy="delete").items() if name != SEEN}
    said = examine(CHECKS["T04"], healthy(configs=hidden))
    assert {(each.subject, each.level) for each in said} == {(SEEN, Level.UNCHECKED), (TOTALS, Level.ERROR)}


def test_an_open_transaction_whose_age_is_not_told_is_no_pass() -> None:
    (said,) = examine(CHECKS["X01"], healthy(transactions=(held(age=None, timeout=None),)))
    assert said.level is Level.UNCHECKED
    assert "look again in 40s" in said.line


@pytest.mark.parametrize(("id_", "workers"), [("G06", Unread("none answers")), ("G06", "older"), ("G04", "older")])
def test_the_directory_here_tells_where_workers_do_not(id_: str, workers: Any) -> None:
    older = replace(a_worker(), document=msgspec.structs.replace(a_worker().document, doctor=None))
    here = Directory(Path("/data"), exists=True, worker_id="w-0", is_new=True, restarts=(48.0,))
    said = examine(CHECKS[id_], healthy(workers=(older,) if workers == "older" else workers, directory=here))
    assert [each.level for each in said] == [Level.WARNING]
