"""The checker's murmur2 is Java's: values from Kafka's own tests (UtilsTest.testMurmur2)."""

from __future__ import annotations

import pytest

from tests.support.kafka_records import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_javas(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_the_sign_bit_is_dropped_not_negated() -> None:
    assert partition_of(b"21", 8) == ((-973932308) & 0x7FFFFFFF) % 8
