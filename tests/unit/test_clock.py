"""A deadline that several waits share runs out once for all of them, and at once when somebody cuts it."""

from __future__ import annotations

import threading

from streamapp.clock import Deadline


def test_a_deadline_is_what_is_left_of_it() -> None:
    deadline = Deadline.after(60)
    assert not deadline.passed
    assert 0 < deadline.left <= 60
    assert deadline.slice(5) == 5
    assert Deadline.after(0).passed
    assert Deadline.after(-1).left == 0


def test_a_cut_ends_every_wait_that_shares_it() -> None:
    cut = threading.Event()
    shared = Deadline.after(60, cut), Deadline.after(30, cut)
    assert not any(deadline.passed for deadline in shared)
    cut.set()
    assert all(deadline.passed and deadline.left == 0 and deadline.slice(5) == 0 for deadline in shared)
