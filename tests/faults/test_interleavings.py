"""Many interleavings of failures, on the Kafka in memory: none leaves what is committed at odds with the model.

The same machine as tests/unit/pipeline/test_engine_machine.py, longer and from other seeds.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.engine_machine import SEED, EngineMachine, run
from tests.support.evidence import Scenario, keep

INTERLEAVINGS: Final = 500
"""Of each seed: some two to four minutes."""
SEEDS: Final = 6


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(SEED + 1, SEED + 1 + SEEDS))
def test_no_interleaving_of_failures_breaks_what_is_committed(seed: int) -> None:
    class Machine(EngineMachine):
        pass

    run(Machine, INTERLEAVINGS, seeded=seed)
    told = Machine.tally
    print(f"{INTERLEAVINGS} interleavings, {Machine.moves} moves, seed {seed}: {dict(told)}")
    keep(
        Scenario(
            name=f"Interleavings of failures on the memory Kafka, seed {seed}",
            command=f"pytest tests/faults/test_interleavings.py -k '{seed}'",
            seed=seed,
            records=told["records"],
            aborts=told["aborts"],
            rebuilds=told["producer_rebuilds"],
            figures={
                "interleavings": INTERLEAVINGS,
                "moves": Machine.moves,
                "deaths": told["deaths"],
                "commits": told["commits"],
            },
        )
    )
    assert told["aborts"] > INTERLEAVINGS / 2
