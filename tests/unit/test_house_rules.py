"""Rules of the house that a test can watch, so that no reviewer has to."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import streamapp
from streamapp import errors
from streamapp.errors import StreamAppError
from streamapp.faults import FaultPoint

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
WORLDS = ("unit", "conformance", "integration", "faults", "acceptance", "typing")
"""Folders that hold tests; the others (support, demo, benchmarks) hold what tests and people start."""
BESIDE_TESTS = {
    "unit/support/histories.py",  # the ledger's controls
    "unit/worker/shop.py",  # an app to declare things on
    "faults/audit.py",  # what a user starts
    "typing/user_code.py",  # what mypy reads as a user's
}
APPS = "acceptance/apps"
"""Apps that acceptance tests run as their users would."""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python_files(*under: Path) -> Iterator[Path]:
    for folder in under:
        yield from sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


# --- the public door


def test_the_public_names_are_sorted_and_are_those_that_the_door_opens_for() -> None:
    assert streamapp.__all__ == sorted(streamapp.__all__)
    assert set(streamapp.__all__) == {*streamapp._HOMES, "app"}


def test_type_checkers_are_told_the_same_names_from_the_same_places() -> None:
    (block,) = (node for node in parsed(ROOT / "streamapp" / "__init__.py").body if isinstance(node, ast.If))
    told = {
        alias.name: (node.module or "").removeprefix("streamapp.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "streamapp.application" or alias.name in streamapp.__all__
    }
    assert told == streamapp._HOMES


def test_every_public_name_resolves_and_none_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys, streamapp; early = {'faust', 'confluent_kafka', 'rocksdict'} & set(sys.modules); assert not early, early; "
        "print(*[name for name in streamapp.__all__ if getattr(streamapp, name) is not None])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == streamapp.__all__, done.stderr


# --- tests are collected


def test_every_test_lies_in_a_world_and_in_a_file_that_pytest_collects() -> None:
    tests = [
        f"{path.relative_to(TESTS)}:{node.name}"
        for path in python_files(TESTS)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if not (path.name.startswith("test_") and path.relative_to(TESTS).parts[0] in WORLDS)
    ]
    assert tests == []


def test_every_file_beside_the_tests_is_one_of_them_or_is_known() -> None:
    stray = {
        str(path.relative_to(TESTS))
        for path in python_files(*(TESTS / world for world in WORLDS))
        if not path.name.startswith("test_") and path.name != "conftest.py" and path.parent != TESTS / APPS
    }
    assert stray == BESIDE_TESTS


def test_every_test_file_says_which_behaviour_it_states() -> None:
    silent = [
        str(path.relative_to(TESTS))
        for path in python_files(TESTS)
        if path.name.startswith("test_") and not ast.get_docstring(parsed(path))
    ]
    assert silent == []


# --- errors


def own_errors() -> list[type[StreamAppError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StreamAppError)]


@pytest.mark.parametrize("kind", own_errors(), ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_means(kind: type[StreamAppError]) -> None:
    assert vars(kind).get("__doc__")
    assert str(kind()) == kind.__doc__, "without a message, the docstring is the message"


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """Each error stands on the branch of its recovery, which is what its catcher looks for."""
    drawn: dict[str, set[str]] = {}
    for line in (errors.__doc__ or "").splitlines():
        if (branch := re.match(r"[├└]── (\w+)", line)) is not None:
            drawn[branch[1]] = set()
        elif re.match(r"[│ ] {5}\w", line):
            drawn[list(drawn)[-1]].update(line.lstrip("│ ").split())
    branches = StreamAppError.__subclasses__()
    assert drawn == {
        branch.__name__: {kind.__name__ for kind in own_errors() if issubclass(kind, branch) and kind is not branch}
        for branch in branches
        if branch.__module__ == errors.__name__
    }


# --- fault points

STRIKES = re.compile(r"([a-z-]+)(?::\d+)?(?:=[a-z]+)?")
"""How a worker's environment names a fault point (see streamapp/testing/crash.py)."""


def reached_in_the_code() -> set[str]:
    return {
        call.args[0].attr
        for path in python_files(ROOT / "streamapp")
        for call in ast.walk(parsed(path))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("reached") and isinstance(call.args[0], ast.Attribute)
    }


@cache
def struck_by_tests() -> frozenset[str]:
    """Return the names of the points that tests strike at: as members of the enum, or as a worker's environment has them."""
    values = {point.value: point.name for point in FaultPoint}
    found = set()
    for path in python_files(*(TESTS / world for world in WORLDS)):
        if path in (Path(__file__), TESTS / "unit" / "testing" / "test_crash.py"):
            continue  # these speak of points, and are not about what happens there
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("FaultPoint"):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [STRIKES.fullmatch(part.strip()) for part in node.value.split(",")]
                found |= {values[part[1]] for part in parts if part is not None and part[1] in values}
    return frozenset(found)


def test_every_fault_point_is_reached_in_the_code() -> None:
    assert reached_in_the_code() == set(FaultPoint.__members__)


@pytest.mark.parametrize("point", FaultPoint)
def test_every_fault_point_is_struck_by_a_test(point: FaultPoint) -> None:
    assert point.name in struck_by_tests()
