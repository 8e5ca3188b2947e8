"""Runs a test with an engine that lacks one rule, in a process of its own, and tells what it said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from tests.support.weakened import WEAKENINGS, keep, named
from tests.support.weakening import environment

ROOT: Final = Path(__file__).parents[2]
LONGEST: Final = 100.0
"""Seconds that one run may take; a test that only ends by this has shown nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of pytest ended."""

    exit_code: int
    failed: dict[str, str]
    """Node id -> what its failure said; errors of fixtures and of the collection are not among them."""
    output: str
    seconds: float


def run_weakened(text: str, home: Path, bootstrap: str | None) -> Outcome:
    """Run the test of the weakening that `text` names with it. `bootstrap`: a broker for it; None where it needs none."""
    weakening, report = named(text), home / "report.xml"
    environ = {**os.environ, **environment(text)}
    if weakening.needs_broker:
        assert bootstrap is not None
        environ["STREAMAPP_TEST_BROKER"] = bootstrap
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            # The rigs bring the whole shell with them, which costs a second: without a broker nobody needs them.
            *([] if weakening.needs_broker else ["--noconftest"]),
            *(f"--timeout={LONGEST:g}", f"--junitxml={report}", weakening.test),
        ],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * LONGEST,
        check=False,
    )
    return Outcome(done.returncode, _failed(report), done.stdout, time.monotonic() - began)


def require_red(name: str, home: Path, bootstrap: str | None) -> None:
    """Have the test of weakening `name` turn red with it, by what it asserts, and write down what it said."""
    weakening = WEAKENINGS[name]
    outcome = run_weakened(name, home, bootstrap)
    # 0: the rule has no test. 2 to 5: pytest did not come to a test at all.
    assert outcome.exit_code == 1, f"pytest ended with {outcome.exit_code}:\n{outcome.output}"
    red = {node: said for node, said in outcome.failed.items() if node.startswith(weakening.test)}
    assert red, f"{weakening.test} is not what failed: {outcome.failed}\n{outcome.output}"
    said = next(iter(red.values()))
    assert re.search(weakening.shows, said), f"red for another reason than {weakening.shows!r}:\n{said}"
    keep(name, said=said, seconds=outcome.seconds)
    print(f"{name}: rule {weakening.rule}, {outcome.seconds:.1f} s: {said.splitlines()[0]}")


def require_green_alone(name: str, home: Path, bootstrap: str | None) -> None:
    """Have the first edit of weakening `name` alone leave its test green: the second check covers it."""
    outcome = run_weakened(f"{name}:0", home, bootstrap)
    assert outcome.exit_code == 0, f"not covered after all:\n{outcome.output}"


def _failed(report: Path) -> dict[str, str]:
    if not report.exists():
        return {}
    failed = {}
    for case in ET.parse(report).iter("testcase"):
        for failure in case.iter("failure"):
            node = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            failed[node] = failure.get("message", "")
    return failed
