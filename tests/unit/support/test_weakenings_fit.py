"""Each weakening takes away what the engine has today, each rule has one, and each names a test that is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.weakened import WEAKENINGS
from tests.support.weakening import Edit, EditDoesNotFit

ROOT = Path(__file__).parents[3]


@cache
def written_in(path: str) -> set[str]:
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("name", WEAKENINGS)
def test_its_edits_fit_the_engine_and_what_is_left_compiles(name: str) -> None:
    sources: dict[str, str] = {}
    for edit in WEAKENINGS[name].edits:
        path = ROOT / "streamapp" / f"{edit.module.replace('.', '/')}.py"
        sources[edit.module] = edit.of(sources.get(edit.module) or path.read_text(encoding="utf-8"))
    assert sources
    for source in sources.values():
        ast.parse(source)


@pytest.mark.parametrize("name", WEAKENINGS)
def test_its_test_is_there_and_part_of_every_run(name: str) -> None:
    path, test = WEAKENINGS[name].test.split("::")
    assert not path.startswith("tests/faults/"), "that it is green without the weakening is make test's to say"
    assert test.partition("[")[0] in written_in(path)


def test_every_numbered_rule_has_one() -> None:
    assert {int(weakening.rule) for weakening in WEAKENINGS.values() if weakening.rule.isdigit()} == set(range(1, 23))


def test_an_edit_that_no_longer_fits_says_so() -> None:
    with pytest.raises(EditDoesNotFit, match="2 times"):
        Edit("kafka.source", "pass", "").of("pass\npass")


def test_patterns_can_be_read() -> None:
    for weakening in WEAKENINGS.values():
        re.compile(weakening.shows)
