"""Without rule 11 a request that arrives in a later transaction does what the checker calls by name; with it, nothing.

The control of the scenarios in test_connections.py: the proxy delivers the same late request to a worker that goes on with its
producer, and to one that replaces it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.ordered_faults import Api, Loss, Request
from tests.support.proxied_broker import ProxiedBroker
from tests.support.proxied_run import ProxiedRun, scenario_of
from tests.support.topics import wait_until
from tests.support.verdict import Kind, Verdict
from tests.support.weakening import environment

pytestmark = pytest.mark.timeout(600)
LATE_ENDS = 8
"""Late EndTxns: one does no harm where it comes behind the last output of its transaction."""
LATE_OFFSETS = 3
"""Late TxnOffsetCommits: one does no harm where nothing but commit markers lies between the two."""


def run_of(line: ProxiedBroker, home: Path, name: str, *, weak: bool, **more: str) -> ProxiedRun:
    scenario = scenario_of(f"{name}, rule 11 {'switched off' if weak else 'on'}", "control_rule_11")
    scenario.figures["must be red"] = str(weak).lower()
    # A start that is counted is a commit that moves nothing, and has the first record behind it committed at once: late requests of such
    # units do no harm.
    env: dict[str, Any] = {"STREAMAPP_ISOLATE_AFTER": "0", **more, **(environment("late-requests-not-fenced") if weak else {})}
    return ProxiedRun(line, home, scenario, workers=1, **env)


def judge(run: ProxiedRun, *, weak: bool) -> Verdict:
    if not weak:
        return run.finish()
    run.load.stop()
    run.job.caught_up()
    run.job.workers.stop()
    return run.judged()


@pytest.mark.parametrize("weak", [True, False], ids=["switched off", "on"])
def test_end_txns_that_arrive_late(line: ProxiedBroker, tmp_path: Path, weak: bool) -> None:
    with run_of(line, tmp_path, "late EndTxn", weak=weak) as run:
        codes: list[int] = []
        for _ in range(LATE_ENDS):
            held = line.proxy.hold_back(Api.END_TXN, where=lambda request: request.commits)
            held.wait(deadline=60)
            run.landed(inside=True)
            codes += held.codes
        verdict = judge(run, weak=weak)
    if weak:
        assert 0 in codes, "the broker ended the transaction that was open"
        assert Kind.DOUBLED in verdict.kinds, verdict.report()
    else:
        assert 0 not in codes


@pytest.mark.parametrize("weak", [True, False], ids=["switched off", "on"])
def test_offsets_that_arrive_late(line: ProxiedBroker, tmp_path: Path, weak: bool) -> None:
    # Units that have records of every partition: late offsets of partitions that the later one did not move set nothing back.
    with run_of(line, tmp_path, "late TxnOffsetCommit", weak=weak, STREAMAPP_COMMIT_INTERVAL="0.8") as run:
        for _ in range(LATE_OFFSETS):
            strike_with_late_offsets(run)
        verdict = judge(run, weak=weak)
    if weak:
        assert Kind.DOUBLED in verdict.kinds, verdict.report()


def strike_with_late_offsets(run: ProxiedRun) -> None:
    """Have offsets arrive in a later transaction, and the worker die before it can commit further ones over them."""
    (worker,) = run.job.workers.all.values()
    # Of the second stage: what the first one read again, its dedupe would drop.
    held = run.line.proxy.hold_back(Api.TXN_OFFSET_COMMIT, where=lambda request: b"sku-demand" in request.frame)

    def behind_the_late_one(request: Request) -> bool:
        return request.commits and held.landed == 1

    lost = run.line.proxy.lose_reply(Api.END_TXN, Loss.HANG, where=behind_the_late_one)
    wait_until(lambda: lost.landed == 1, deadline=60, why=lambda: f"{held}; {lost}\n{run.state()}")
    assert worker.kill() == -9
    run.scenario.kills += 1
    run.landed(inside=True, times=2)
    run.start(worker)
    run.recovered()
