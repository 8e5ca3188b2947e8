"""Every engine that lacks one rule of the design, by name, and the table of what turned red with them.

`python -m tests.support.weakened` prints the table that the last run left under build/evidence/controls, for EVIDENCE.md.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.support.weakening import Weakening
from tests.support.weakenings.groups import GROUPS
from tests.support.weakenings.producers import PRODUCERS
from tests.support.weakenings.savepoints import SAVEPOINTS
from tests.support.weakenings.suspects import SUSPECTS
from tests.support.weakenings.tables import TABLES

WEAKENINGS: Final[dict[str, Weakening]] = {**SAVEPOINTS, **PRODUCERS, **GROUPS, **TABLES, **SUSPECTS}

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = Path(os.environ.get("STREAMAPP_TEST_EVIDENCE_DIR", str(ROOT / "build" / "evidence"))) / "controls"


def named(text: str) -> Weakening:
    """Return what the variable's value stands for: a weakening, or as `name:0` its first edit alone."""
    name, _, place = text.partition(":")
    weakening = WEAKENINGS[name]
    return replace(weakening, edits=(weakening.edits[int(place)],)) if place else weakening


def keep(name: str, *, said: str, seconds: float) -> None:
    """Write down what the test of a weakening said, in place of what an earlier run did."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps({"said": said, "seconds": round(seconds, 1)}), encoding="utf-8")


def table() -> str:
    """Return what is kept as a Markdown table, in the order of the rules; a weakening that did not run is named as such."""
    rows = ["| rule | switch: the engine … | what turned red | what was found |", "|---|---|---|---|"]
    for name, weakening in sorted(WEAKENINGS.items(), key=lambda item: _order(item[1].rule)):
        file = KEPT / f"{name}.json"
        said = f"`{_cell(json.loads(file.read_text(encoding='utf-8'))['said'])}`" if file.exists() else "not run"
        covered = f" ({weakening.covered})" if weakening.covered else ""
        path, test = weakening.test.split("::")
        rows.append(
            f"| {weakening.rule} | `{name}`: {weakening.lacks}{covered} | {Path(path).name}: {test} | {said}: {weakening.costs} |"
        )
    return "\n".join(rows)


def _order(rule: str) -> tuple[bool, int, str]:
    number = re.match(r"\d+", rule)
    return number is None, int(number[0]) if number else 0, rule


def _cell(text: str) -> str:
    line = " ".join(text.replace("Use -v to get more diff", "").removeprefix("AssertionError: ").split())
    line = re.sub(r"(?:/[\w.\-]+){2,}|0x[0-9a-f]+", "…", line)  # paths and addresses are of one machine and run
    line = line.replace("|", "\\|").replace("`", "'")
    return line if len(line) <= 160 else f"{line[:157]}..."


if __name__ == "__main__":
    print(table())
