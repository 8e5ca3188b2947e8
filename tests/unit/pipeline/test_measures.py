"""What is counted stays bounded, and adds up."""

from __future__ import annotations

import pytest

from streamapp.pipeline.measures import (
    DURATIONS,
    FINGERPRINTS_BOUND,
    OTHER,
    TYPES_BOUND,
    Counts,
    ErrorTypes,
    Fingerprints,
    Histogram,
    Told,
    Work,
)


def letter(fingerprint: str, number: int = 0, *, at: float = 0.0) -> Told:
    return Told(f"in/0/{number}@agent", fingerprint, "ValueError", "permanent", "handler", at)


def test_a_value_counts_below_the_first_bound_that_is_not_less() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 7.0):
        histogram.add(value)
    told = histogram.told()
    assert (told.bounds, told.counts, told.total) == ((1.0, 2.0), (2, 2, 1), 12.0)
    assert histogram.told(smallest=3, total=9.0).counts == (5, 2, 1)


def test_beyond_a_hundred_error_types_all_others_are_one() -> None:
    types = ErrorTypes()
    counts = Counts(types)
    for number in range(TYPES_BOUND + 5):
        counts.retried(type(f"Error{number}", (Exception,), {})())
    assert len(counts.retries) == TYPES_BOUND + 1
    assert counts.retries[OTHER] == 5
    assert types.name(type("Error0", (Exception,), {})()) == "Error0", "what is known keeps its name"


def test_the_fingerprint_not_seen_for_longest_goes() -> None:
    kinds = Fingerprints()
    for number in range(FINGERPRINTS_BOUND):
        kinds.add("agent", "dlq", letter(f"{number}"))
    kinds.add("agent", "dlq", letter("0"))
    kinds.add("agent", "dlq", letter("new"))
    names = [kind.fingerprint for kind in kinds.told()]
    assert names[:2] == ["new", "0"]
    assert len(names) == FINGERPRINTS_BOUND
    assert "1" not in names


def test_a_fingerprint_keeps_its_first_time_and_its_newest_five_letters() -> None:
    kinds = Fingerprints()
    for number in range(7):
        kinds.add("agent", "dlq", letter("f", number, at=10.0 + number))
    kinds.add("other", "dlq2", letter("f", 9, at=99.0))
    other, kind = kinds.told()
    assert (other.agent, other.count, other.dlq) == ("other", 1, "dlq2")
    assert (kind.count, kind.first, kind.last) == (7, 10.0, 16.0)
    assert kind.letters == tuple(f"in/0/{number}@agent" for number in (6, 5, 4, 3, 2))


@pytest.mark.parametrize(
    ("spans", "busy"),
    [
        ([(0.0, 1.0), (2.0, 5.0)], 4.0),
        ([(0.0, 3.0), (2.0, 5.0)], 5.0),
        ([(0.0, 9.0), (2.0, 5.0)], 9.0),
    ],
)
def test_time_at_work_counts_once_however_many_are_at_it(spans: list[tuple[float, float]], busy: float) -> None:
    work = Work()
    for at, begins in sorted([(span[0], True) for span in spans] + [(span[1], False) for span in spans]):
        (work.began if begins else work.ended)(at)
    assert work.busy(100.0) == busy


def test_one_that_tells_late_that_it_had_ended_takes_nothing_from_the_others() -> None:
    work = Work()
    work.began(0.0)
    work.began(1.0)
    work.ended(6.0)
    work.ended(2.0)
    assert work.busy(100.0) == 6.0


def test_what_goes_on_counts_until_now() -> None:
    work = Work()
    work.began(3.0)
    assert work.busy(5.0) == 2.0


def test_bounds_rise_to_a_minute() -> None:
    assert list(DURATIONS) == sorted(set(DURATIONS))
    assert (DURATIONS[0], DURATIONS[-1]) == (0.005, 60.0)
