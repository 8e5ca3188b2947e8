"""Connections are cut, blackholed and slow, replies are lost, requests arrive late: three workers lose and double nothing, and heal.

No worker may end by itself; after the last fault the lag goes unaided. The figures are kept for EVIDENCE.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.connection_scenarios import blackholes, cuts, held_back, late_inits, lost_replies, no_broker_is_named, slowness
from tests.support.ordered_faults import Api
from tests.support.proxied_broker import ProxiedBroker
from tests.support.proxied_run import ProxiedRun, scenario_of

ROUNDS = int(os.environ.get("STREAMAPP_TEST_FAULT_ROUNDS", "12"))
"""Faults of each scenario."""
pytestmark = pytest.mark.timeout(60 + 120 * ROUNDS)


def test_all_connections_are_cut(line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(line, tmp_path, scenario_of("all connections cut, three workers", "connections_are_cut")) as run:
        cuts(run, 2 * ROUNDS)
        run.finish()


def test_connections_are_blackholed(line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(line, tmp_path, scenario_of("connections blackholed for 0.5 to 12 s, three workers", "blackholed")) as run:
        blackholes(run, ROUNDS)
        run.finish()


def test_no_broker_is_named_to_anyone(line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(line, tmp_path, scenario_of("metadata without a broker, three workers", "no_broker_is_named")) as run:
        no_broker_is_named(run, ROUNDS)
        run.finish()


def test_connections_are_slow(line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(line, tmp_path, scenario_of("connections slow, three workers", "connections_are_slow"), rate=100) as run:
        slowness(run, ROUNDS)
        run.finish()


def test_replies_to_commits_are_lost(line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(line, tmp_path, scenario_of("replies to EndTxn lost, three workers", "replies_to_commits")) as run:
        lost_replies(run, ROUNDS)
        run.finish()


@pytest.mark.parametrize("api", [Api.END_TXN, Api.TXN_OFFSET_COMMIT], ids=["EndTxn", "TxnOffsetCommit"])
def test_requests_arrive_in_a_later_transaction(line: ProxiedBroker, tmp_path: Path, api: Api) -> None:
    name = {Api.END_TXN: "EndTxn", Api.TXN_OFFSET_COMMIT: "TxnOffsetCommit"}[api]
    with ProxiedRun(
        line, tmp_path, scenario_of(f"{name} held back until a later transaction, three workers", "later_transaction")
    ) as run:
        codes = held_back(run, ROUNDS, api)
        assert 0 not in codes, "the broker took a late EndTxn for one of the transaction then open"
        run.finish()


def test_late_words_of_a_new_producer_make_no_rival_of_it(line: ProxiedBroker, tmp_path: Path) -> None:
    with ProxiedRun(
        line, tmp_path, scenario_of("InitProducerId held back until a transaction, three workers", "make_no_rival")
    ) as run:
        late_inits(run, ROUNDS)
        run.finish()
