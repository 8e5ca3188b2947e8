"""Kafka's own commands, as classes on a class path: `streamapp broker` does without their jar, so it is fetched where nobody names one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import pytest

from streamapp.broker import distribution
from streamapp.broker.distribution import Jar, cache_directory, find_kafka
from streamapp.broker.errors import KafkaUnavailable

TOOLS: Final = Jar(
    "6b88f3f0799c585b5121d9f710e448cd365d4cfd55ff3ab5d2d81f52ae59030d", f"org.apache.kafka:kafka-tools:{distribution.VERSION}"
)
"""Of the broker's own version; what it needs besides is among the broker's jars."""


@pytest.fixture(scope="session")
def kafka_tools() -> str:
    """The class path of Kafka's commands; skips where the jar cannot be had, fails there in CI."""
    kafka = find_kafka(os.environ, lambda what, done, whole: None)
    there: list[Path] = [*kafka.libs.glob("kafka-tools-[0-9]*.jar")]
    if not there:
        kept = cache_directory(os.environ) / "test-tools"
        try:
            there = [_fetched(kept)]
        except (KafkaUnavailable, OSError) as failure:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Kafka tools: {failure}")
    return os.pathsep.join([*map(str, there), kafka.class_path])


def _fetched(kept: Path) -> Path:
    jar = kept / TOOLS.file_name
    if not jar.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as scratch, distribution._system_authorities():
            context = distribution._maven(Path(scratch), os.environ.get("STREAMAPP_MAVEN_REPOSITORY"))
            distribution._fetch(context, TOOLS, kept)
    return jar


__all__ = ["kafka_tools"]
