"""The record path alone is measured on the real one: each variant admits every record."""

from __future__ import annotations

import pytest

from tests.benchmarks.record_path import VARIANTS, nanoseconds, records


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
async def test_every_record_is_admitted(variant: dict[str, bool]) -> None:
    assert await nanoseconds(records(300), **variant) > 0
