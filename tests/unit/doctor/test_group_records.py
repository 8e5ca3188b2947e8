"""What the group's own topic tells: in which partition of it a group is, and whose record one is."""

from __future__ import annotations

import struct

import pytest

from streamapp.doctor.gather import group_of
from streamapp.kafka.groups import group_partition


@pytest.mark.parametrize(
    ("group", "code"),
    [
        ("", 0),
        ("a", 97),
        ("abc", 96354),
        ("hello world", 1794106052),
        ("polygenelubricants", -(2**31)),
        ("order-processor", -1_129_616_173),
    ],
)
def test_a_group_is_where_javas_hash_puts_it(group: str, code: int) -> None:
    """Codes of Java's String.hashCode; the smallest one has no absolute value, and counts as 0."""
    assert group_partition(group, 50) == (abs(code) if code > -(2**31) else 0) % 50
    assert group_partition(group, 1) == 0


@pytest.mark.parametrize("version", range(9))
def test_every_kind_of_key_begins_with_its_group(version: int) -> None:
    key = struct.pack(">hh", version, 4) + b"shop" + struct.pack(">h", 6) + b"orders" + struct.pack(">i", 3)
    assert group_of(key) == "shop"


@pytest.mark.parametrize("key", [None, b"", b"\x00\x01\x00", b"\x00\x01\xff\xff"])
def test_what_is_no_such_key_is_nobodys(key: bytes | None) -> None:
    assert group_of(key) is None
