"""The doctor's catalogue: stable ids, which checks run at a start and which refuse it, and how they are chosen and ordered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamapp.doctor.catalogue import AT_START, CATALOGUE, chosen, findings
from streamapp.doctor.facts import Unread
from streamapp.doctor.startup import REFUSING, refuse
from streamapp.errors import SettingInvalid, TopologyInvalid
from streamapp.monitor.finding import Level
from tests.support.doctor_cases import CASES, CHECKS, Case
from tests.support.doctor_facts import healthy

ROOMS = {"G": 11, "P": 7, "T": 7, "C": 5, "D": 6, "X": 3}
AT_A_START = "G01 G04 G05 G07 P01 P02 T01 T02 T04 T06 T07 C01 C03 C04 C05 D01 D02 D03 D04 X03"
REFUSES = "G07 P01 T04 C01 C03 D01"


def test_the_ids_are_those_of_the_operations_manual() -> None:
    assert [check.id for check in CATALOGUE] == [
        f"{room}{number:02}" for room, count in ROOMS.items() for number in range(1, count + 1)
    ]


def test_a_start_makes_those_checks_that_it_is_meant_to_and_refuses_by_some() -> None:
    assert [check.id for check in AT_START] == AT_A_START.split()
    assert sorted(REFUSING) == sorted(REFUSES.split())


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.id in REFUSING and case.level is Level.ERROR], ids=lambda case: case.id
)
def test_an_error_of_a_refusing_check_refuses_the_start_with_its_fix(case: Case) -> None:
    found = findings([CHECKS[case.id]], replace(case.facts, at_start=True))
    with pytest.raises(TopologyInvalid) as refused:
        refuse(found)
    assert str(refused.value).startswith(f"{case.id}: ")
    assert "\n" not in str(refused.value)
    assert any(each.fix and each.fix in str(refused.value) for each in found)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.level is Level.ERROR and case.id not in REFUSING and CHECKS[case.id].at_start],
    ids=lambda case: case.id,
)  # fmt: skip
def test_an_error_of_another_check_lets_the_worker_start(case: Case) -> None:
    found = findings([CHECKS[case.id]], case.facts)
    assert Level.ERROR in {each.level for each in found}
    refuse(found)


def test_what_could_not_be_checked_lets_the_worker_start() -> None:
    found = findings(AT_START, healthy(topics=Unread("no right"), configs=Unread("no right"), broker_config=Unread("no right")))
    assert {each.level for each in found} == {Level.UNCHECKED}
    refuse(found)


@pytest.mark.parametrize(
    ("only", "ignored", "ids"),
    [
        (["G01", "x"], [], ["G01", "X01", "X02", "X03"]),
        (["D"], ["D02", "d05"], ["D01", "D03", "D04", "D06"]),
        ([], ["G", "P", "T", "C", "D"], ["X01", "X02", "X03"]),
    ],
)
def test_checks_are_chosen_by_id_or_by_room(only: list[str], ignored: list[str], ids: list[str]) -> None:
    assert [check.id for check in chosen(only, ignored)] == ids


@pytest.mark.parametrize(("only", "ignored", "option"), [(["G99"], [], "--only G99"), ([], ["Q"], "--ignore Q")])
def test_a_check_that_is_none_is_refused(only: list[str], ignored: list[str], option: str) -> None:
    with pytest.raises(SettingInvalid, match=f"^{option}: must be one of G01, "):
        chosen(only, ignored)


def test_the_worst_comes_first_and_what_is_not_known_before_what_is_only_good_to_know() -> None:
    wanted = {Level.ERROR: "X03", Level.WARNING: "C05", Level.INFORMATION: "G02"}
    facts = {case.id: case.facts for case in CASES if wanted.get(case.level or Level.UNCHECKED) == case.id}
    ill = healthy(kafka=30, brokers=(1,), app=facts["C05"].app, group=facts["G02"].group, clock=Unread("not told"))
    found = findings([CHECKS[each] for each in ("G02", "C05", "X02", "X03")], ill)
    assert [(each.id, each.level) for each in found] == [
        ("X03", Level.ERROR),
        ("C05", Level.WARNING),
        ("X02", Level.UNCHECKED),
        ("G02", Level.INFORMATION),
    ]
