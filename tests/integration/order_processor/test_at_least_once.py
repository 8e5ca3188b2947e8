"""Without transactions the same job loses nothing; while nobody dies it doubles nothing either."""

from __future__ import annotations

from tests.support.order_jobs import OrderJob
from tests.support.verdict import Kind

AT_LEAST_ONCE = {"STREAMAPP_PROCESSING_GUARANTEE": "at_least_once"}
REPEATS = {Kind.DOUBLED, Kind.MISSUMMED, Kind.MISORDERED, Kind.CHANGELOG_MISMATCH, Kind.INVENTED, Kind.TORN, Kind.NOT_A_PREFIX}
"""What work that is done again after a kill may show. Never a loss, never a wrong field."""


def test_without_trouble_every_order_comes_out_once(job: OrderJob) -> None:
    job.start("w1", **AT_LEAST_ONCE)
    job.feed(1_500)
    job.finish()


def test_a_kill_loses_nothing(job: OrderJob) -> None:
    worker = job.start("w1", ORDER_PROCESSOR_KILL_SKU="sku-3", **AT_LEAST_ONCE)
    job.feed(1_500)
    assert worker.wait(90) == -9
    job.start("w1", **AT_LEAST_ONCE)
    job.caught_up()
    assert set(job.workers.stop().values()) == {0}
    verdict = job.verdict()
    assert verdict.kinds <= REPEATS, verdict.report()
