"""A worker looks at its broker's version before anything else: exactly once needs Kafka 2.5, at least once does not."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from streamapp.clock import Deadline
from streamapp.errors import BrokerUnsupported
from streamapp.kafka import client_config, versions
from streamapp.kafka.versions import await_broker
from streamapp.worker.lifecycle import exit_code
from tests.support.counting import orders
from tests.support.engine_rig import EngineRig
from tests.support.topics import partitions_of

FUTURE = patch.object(versions, "FENCING_COMMIT", 1_000)
"""Makes the real broker one that is too old: it tells its versions, and they are not enough."""


async def test_the_real_broker_passes(rig: EngineRig) -> None:
    await_broker(client_config.admin(rig.settings("w1")), Deadline.after(20), fencing=True)


async def test_one_that_is_too_old_ends_the_start_with_exit_2(rig: EngineRig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.make()
    with FUTURE, pytest.raises(BrokerUnsupported) as refused:
        await rig.start()
    assert exit_code(refused.value, log_it=False) == 2
    assert "exactly once needs Apache Kafka 2.5 or later" in str(refused.value)
    assert rig.clients.clients == [], "no producer was made, nobody joined"
    assert partitions_of(rig.bootstrap, [rig.job.dlq, rig.job.changelog]) == {rig.job.dlq: 0, rig.job.changelog: 0}


async def test_at_least_once_runs_on_it(rig: EngineRig, tmp_path: Path) -> None:
    rig.make()
    rig.feed(orders(10))
    with FUTURE:
        worker = await rig.start(processing_guarantee="at_least_once")
    await rig.caught_up()
    assert rig.wrong() == []
    assert worker.table() == rig.due_counts()
