"""A live worker's tables are compared while it works, and it is found by its data directory; what it would serve wrongly is seen."""

from __future__ import annotations

import threading

from tests.support.order_jobs import OrderJob
from tests.support.topics import wait_until
from tests.support.verifying import Verified, tamper, verify


def verified(job: OrderJob, *place: str) -> Verified:
    return verify("--json", "--only", "tables", *place, bootstrap=job.bootstrap, app_id=job.app_id)


def test_its_digests_are_those_of_its_changelogs_while_it_goes_on(job: OrderJob) -> None:
    (worker,) = job.start_ready("w1")
    stopping = threading.Event()

    def feed() -> None:
        while not stopping.is_set():
            job.feed(100)
            stopping.wait(0.05)  # a steady load, not a wait

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        wait_until(lambda: job.processed() >= 100, deadline=60, why=job.workers.tails)
        found = verified(job, "--data-dir", str(worker.data_dir))
    finally:
        stopping.set()
        feeding.join()
    assert (found.code, found.bad()) == (0, []), found.stderr
    equal = found.rows("table", status="equal")
    assert {row["place"] for row in equal} == {f"http://127.0.0.1:{worker.web_port}"}
    assert len(equal) == 29
    # Rows of one moment: the tables of the first were read before those of the last, and the worker wrote on.
    assert sum(row["keys"] for row in equal) > 100
    job.finish()


def test_a_worker_on_a_store_that_was_tampered_with_is_found_out(job: OrderJob) -> None:
    worker = job.start("w1")
    job.feed(300)
    job.caught_up()
    assert worker.stop() == 0
    tamper(job.bootstrap, job.app_id, worker.data_dir, "customer_totals", 2)
    (again,) = job.start_ready("w2", STREAMAPP_DATA_DIR=str(worker.data_dir), STREAMAPP_WORKER_ID="w1")
    found = verified(job, "--worker", f"http://127.0.0.1:{again.web_port}/")
    (row,) = found.bad()
    assert (found.code, row["status"], row["table"], row["partition"]) == (1, "different", "customer_totals", 2)
    assert row["place"] == f"http://127.0.0.1:{again.web_port}"


def test_a_live_worker_without_a_web_port_is_said_to_hold_the_directory(job: OrderJob) -> None:
    worker = job.start("w1")
    job.feed(20)
    job.caught_up()
    found = verified(job, "--data-dir", str(worker.data_dir))
    (row,) = found.bad()
    assert (found.code, row["verdict"], row["about"]) == (1, "unchecked", str(worker.data_dir))
    assert f"process id {worker.pid}" in row["detail"]
