"""An order processor that has done its work and stopped, for tests that only look; those that break something break it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.order_jobs import OrderJob
from tests.support.verifying import Verified, verify

Verify = Callable[..., Verified]


@pytest.fixture(scope="module")
def done(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrderJob]:
    """A finished job: w1 has all partitions, has stopped cleanly, and its data directory is there."""
    with OrderJob(bootstrap, tmp_path_factory.mktemp("verify") / "workers") as job:
        job.start("w1")
        job.feed(600, poison=0.01)
        job.finish()
        yield job


@pytest.fixture
def check(done: OrderJob) -> Verify:
    """Run `streamapp verify --json` on the finished job and its data directory."""

    def run(*options: str, **env: str) -> Verified:
        place = ("--data-dir", str(done.workers["w1"].data_dir))
        return verify("--json", *place, *options, bootstrap=done.bootstrap, app_id=done.app_id, **env)  # type: ignore[arg-type]  # variables only

    return run
