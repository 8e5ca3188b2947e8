"""What a run of the fault rig found, a file per scenario, and EVIDENCE.md made from them: `python -m tests.support.evidence`."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import confluent_kafka
import msgspec

from streamapp.broker.distribution import VERSION as KAFKA_VERSION
from tests.support import weakened

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "EVIDENCE.md"
UNKNOWN: Final = "unknown"
KEPT: Final = Path(os.environ.get("STREAMAPP_TEST_EVIDENCE_DIR", str(ROOT / "build" / "evidence")))


@dataclass(slots=True, kw_only=True)
class Scenario:
    """One scenario's figures. What was not counted is None: unknown, never 0."""

    name: str
    """What was done to the app, in a person's words: `SIGKILL at random, three workers`."""
    command: str
    """What repeats it, seed included."""
    seed: int | None = None
    records: int = 0
    """Source records that the checker followed to their end."""
    kills: int = 0
    """Workers that ended by SIGKILL."""
    faults: int = 0
    """All faults, kills included."""
    inside_a_transaction: int | None = None
    """Faults that met an open transaction."""
    violations: dict[str, int] = field(default_factory=dict)
    """By the checker's classes; empty where it found none."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a worker's restart, or a fault's end, to the next commit."""
    aborts: int | None = None
    rebuilds: int | None = None
    replayed: int | None = None
    """Records that were read again after an abort."""
    figures: dict[str, str | int | float] = field(default_factory=dict)
    """Anything else worth a line."""


def keep(scenario: Scenario) -> None:
    """Write it down, in place of what an earlier run of the same name wrote."""
    KEPT.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", scenario.name.lower()).strip("-")
    (KEPT / f"{slug}.json").write_bytes(msgspec.json.format(msgspec.json.encode(scenario)))


def kept() -> list[Scenario]:
    """Return what runs wrote down, by name."""
    return [msgspec.json.decode(file.read_bytes(), type=Scenario) for file in sorted(KEPT.glob("*.json"))]


# --- the document

MUST_BE_RED: Final = "must be red"
"""The figure that marks a control: an engine without a safeguard, whose violations are what was looked for."""

LIMITS: Final = (
    (
        "librdkafka speaks transaction protocol v1, in which a request can arrive in a later transaction. The engine takes a new producer when "
        "one may have been sent twice, which it can only tell by time: a clock that jumps in that very moment, or a client that re-sends "
        "sooner than it promises, would not be noticed."
    ),
    (
        "One broker on one disk. What a leader's failover, an unclean election or a disk that lies about its writes do is Kafka's promise, and "
        "was not tried here."
    ),
    (
        "Workers, broker and checker ran on one machine and share its clock. Recovery times hold for that machine and its load, and a commit "
        "is seen up to 0.03 s late."
    ),
    (
        "While a killed worker is away, its open transaction keeps readers of what it wrote from going on, other workers of the next stage "
        "among them, until it is back or the transaction timeout has passed. That is what `read_committed` means; nothing is lost."
    ),
    (
        "A static member whose data directory goes with its process, and which ends between the two joins of a rebalance and is back within its "
        "session, may leave partitions without an owner until another member comes or goes. Nothing is lost; `streamapp doctor` names them (P07)."
    ),
    "Outside Kafka (a call to a service, a database) work is done at least once: the checker sees topics only.",
    "Whether a fault met an open transaction is asked of the coordinator right after the fault. Where it was not asked it is unknown.",
    "What a killed worker had done and not committed is done again, and counted by nobody; replayed are the records of aborts.",
)


def machine() -> list[tuple[str, str]]:
    """Return what the figures depend on: no names, no paths."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return [
        ("processor", f"{platform.machine()}, {os.cpu_count() or UNKNOWN} cores"),
        ("memory", f"{pages / 2**30:.0f} GiB"),
        ("system", platform.system()),
        ("Python", platform.python_version()),
        ("streamapp", _version("streamapp-kafka")),
        ("confluent-kafka", _version("confluent-kafka")),
        ("librdkafka", confluent_kafka.libversion()[0]),
        ("rocksdict", _version("rocksdict")),
        ("Apache Kafka", f"{KAFKA_VERSION}, one node, as `streamapp broker` starts it"),
    ]


def render(ran: Sequence[Scenario], about: Iterable[tuple[str, str]], table: str = "") -> str:
    """Return EVIDENCE.md. `table`: of the engines without a safeguard."""
    scenarios = [each for each in ran if each.figures.get(MUST_BE_RED) != "true"]
    controls = [each for each in ran if each.figures.get(MUST_BE_RED) == "true"]
    records, kills = sum(each.records for each in scenarios), sum(each.kills for each in scenarios)
    faults = sum(each.faults for each in scenarios)
    violations: Counter[str] = Counter()
    for each in scenarios:
        violations.update(each.violations)
    lines = [
        "# Evidence",
        "",
        "Made by the runs of the fault rig; what is not known is called unknown. `make evidence` renders it anew from what the last runs",
        "of `make faults` and `make audit` on this machine kept; a seed makes a run feed the same orders and draw the same faults, though",
        "not at the same instruction. Each scenario is held against the contract by a checker that shares no code with the engine",
        "(`tests/support/ledger.py`), with a `read_committed` reader that looked on from start to end.",
        "",
        f"**{records:,} records, {faults:,} faults, {kills:,} of them kills, in {len(scenarios)} scenarios: {_violations(violations)}.**",
        "",
        "| scenario | records | faults | kills | inside an open transaction | violations |",
        "|---|---:|---:|---:|---:|---|",
        *(_scenario_row(each) for each in scenarios),
        "",
        "Recovery is the time from a worker's restart, or from the end of a fault that needs none, to its next commit.",
        "",
        "| scenario | recovery p50 | p95 | max | of | aborts | producers replaced | records replayed |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_recovery_row(each) for each in scenarios),
        "",
        "## Engines without a safeguard",
        "",
        "A checker that cannot fail shows nothing. These workers ran with a rule of the engine switched off, and had to be caught.",
        "",
        "| scenario | records | faults | violations |",
        "|---|---:|---:|---|",
        *(f"| {each.name} | {each.records:,} | {each.faults:,} | {_violations(each.violations)} |" for each in controls),
        "",
        "And these engines, each without one line or check (`tests/support/weakenings/`), had to turn a test red.",
        "",
        table or f"The table is {UNKNOWN}: they were not run.",
        "",
        "## Limits that remain",
        "",
        *(f"- {limit}" for limit in LIMITS),
        "",
        "## Machine and versions",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {what} |" for name, what in about),
        "",
        "## Scenarios, seeds, commands",
        "",
    ]
    for each in ran:
        lines += [f"### {each.name}", "", *_details(each), ""]
    return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest of `values` that at least `share` of them do not exceed; None of none."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * round(share * 100) // 100) - 1)]


def _scenario_row(each: Scenario) -> str:
    share = UNKNOWN
    if each.inside_a_transaction is not None and each.faults:
        share = f"{each.inside_a_transaction:,} ({each.inside_a_transaction / each.faults:.0%})"
    return f"| {each.name} | {each.records:,} | {each.faults:,} | {each.kills:,} | {share} | {_violations(each.violations)} |"


def _recovery_row(each: Scenario) -> str:
    took = [percentile(each.recoveries, share) for share in (0.5, 0.95, 1.0)]
    cells = [UNKNOWN if value is None else f"{value:.2f} s" for value in took]
    counts = [UNKNOWN if count is None else f"{count:,}" for count in (each.aborts, each.rebuilds, each.replayed)]
    return f"| {each.name} | {' | '.join(cells)} | {len(each.recoveries)} | {' | '.join(counts)} |"


def _violations(found: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(found.items()) if count) or "no violation"


def _details(each: Scenario) -> list[str]:
    lines = [f"`{each.command}`", "", f"- seed: {UNKNOWN if each.seed is None else each.seed}"]
    for name, value in each.figures.items():
        lines.append(f"- {name}: {f'{value:,}' if isinstance(value, int) else value}")
    return lines


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def main() -> None:
    """Write EVIDENCE.md from what was kept. With nothing kept it stays as it is."""
    scenarios = kept()
    if not scenarios:
        raise SystemExit(f"nothing was kept in {KEPT}: run `make faults` or `make audit` first")
    DOCUMENT.write_text(render(scenarios, machine(), weakened.table()), encoding="utf-8")
    print(f"{DOCUMENT.name}: {len(scenarios)} scenarios, {sum(each.records for each in scenarios):,} records")


if __name__ == "__main__":
    main()
