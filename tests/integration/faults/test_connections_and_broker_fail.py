"""Connections that break, answers that are lost, requests that come late, a broker that dies: a worker heals, loses and doubles nothing.

The short selection of tests/faults: the same scenarios on one worker, a round or two of each. The proxy tells that each fault landed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connection_scenarios import (
    cuts,
    deaths_before_the_answer,
    held_back,
    late_inits,
    lost_replies,
    no_broker_is_named,
    restarts,
)
from tests.support.evidence import Scenario
from tests.support.ordered_faults import Api
from tests.support.proxied_broker import ProxiedBroker
from tests.support.proxied_run import ProxiedRun


@pytest.fixture
def run(line: ProxiedBroker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ProxiedRun]:
    """One worker under load. Its figures are printed, not kept: they are of too little."""
    scenario = Scenario(name=request.node.name, command=f"make test PYTEST_ARGS='-k {request.node.name}'", seed=1)
    with ProxiedRun(line, tmp_path, scenario, workers=1, keeps=False) as made:
        yield made


def test_cut_connections_and_lost_answers_change_nothing_nor_does_a_death_before_one(run: ProxiedRun) -> None:
    cuts(run, 2)
    lost_replies(run, 1)
    deaths_before_the_answer(run, 1)
    run.finish()


def test_requests_that_arrive_in_a_later_transaction_change_nothing(run: ProxiedRun) -> None:
    assert 0 not in held_back(run, 1, Api.END_TXN, kill_every=0)
    held_back(run, 1, Api.TXN_OFFSET_COMMIT, kill_every=1)
    run.finish()


def test_late_words_of_a_new_producer_make_no_rival_of_it(run: ProxiedRun) -> None:
    late_inits(run, 3)
    run.finish()


def test_a_broker_that_is_killed_and_comes_back_finds_its_worker_alive(run: ProxiedRun) -> None:
    restarts(run, 1, run.line.node.kill)
    run.finish()


def test_a_worker_that_is_told_of_no_broker_at_all_finds_one_again(run: ProxiedRun) -> None:
    no_broker_is_named(run, 1)
    run.finish()
