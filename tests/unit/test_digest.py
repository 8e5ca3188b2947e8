"""The digest of a table tells any two tables apart, and is the same however the rows are handed over."""

from __future__ import annotations

from hypothesis import given, strategies

from streamapp.digest import Digester, digest_of

TABLES = strategies.dictionaries(strategies.binary(max_size=3), strategies.binary(max_size=3), max_size=6)


def rows(table: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return sorted(table.items())


@given(TABLES, TABLES)
def test_two_tables_have_one_digest_if_they_are_equal(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    assert (digest_of(rows(one)) == digest_of(rows(other))) == (one == other)


def test_a_byte_between_key_and_value_counts() -> None:
    assert digest_of([(b"a", b"bc")]) != digest_of([(b"ab", b"c")])


@given(TABLES, strategies.integers(0, 6))
def test_parts_give_what_the_whole_gives(table: dict[bytes, bytes], cut: int) -> None:
    digester = Digester()
    digester.update(rows(table)[:cut])
    digester.update(rows(table)[cut:])
    assert digester.result() == digest_of(rows(table))


def test_the_digest_is_written_down_as_workers_of_other_versions_answer_it() -> None:
    digest = digest_of([(b'"ann"', b"1"), (b'"bob"', b"2")])
    assert (digest.keys, digest.digest) == (2, "cc6578b0362c81e41afdf599996dc602")
