"""Fixtures for every test. They live in tests/support, one file per subject; a new file is named here, and nowhere else."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.broker",
    "tests.support.proxied_broker",
    "tests.support.order_jobs",
    "tests.support.group_rig",
    "tests.support.engine_rig",
    "tests.support.kafkas",
    "tests.support.word_app",
    "tests.support.postgres",
    "tests.support.kafka_tools",
]

# Both are absolute times, which a busy machine breaks.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
