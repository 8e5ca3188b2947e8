"""Fixtures for every test. They live in tests/support, one file per subject; a new file is named here, and nowhere else."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.broker",
    "tests.support.order_jobs",
    "tests.support.group_rig",
    "tests.support.engine_rig",
    "tests.support.kafkas",
    "tests.support.word_app",
]
