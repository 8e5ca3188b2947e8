"""Without what makes a record a savepoint, and a unit the only thing that is aborted (DESIGN §4 before its numbered rules)."""

from __future__ import annotations

from typing import Final

from tests.support.weakening import Edit, Weakening

UNIT: Final = "tests/unit/pipeline"

SAVEPOINTS: Final = {
    "failed-writes-leak": Weakening(
        rule="§4 savepoint",
        lacks="moves the table writes of a failed attempt into the unit",
        costs="an order that was dead-lettered is in the customer's total all the same",
        edits=(
            Edit(
                "pipeline.process",
                "        lane = inlet.lane\n        if not lane.straight:\n            self._release(inlet, savepoint, items)\n",
                "        lane = inlet.lane\n"
                "        savepoint.outputs = None\n"
                "        with self.admission.lock:\n"
                "            self.admission._merge(savepoint)\n"
                "        if not lane.straight:\n            self._release(inlet, savepoint, items)\n",
            ),
        ),
        test=f"{UNIT}/test_failed_records.py::test_the_next_attempt_and_the_next_record_read_what_was_there_before",
        shows=r"b'n': b'7'",
    ),
    "failed-outputs-leak": Weakening(
        rule="§4 savepoint",
        lacks="sends the outputs of a failed attempt",
        costs="a retried order is priced once for each attempt",
        edits=(
            Edit(
                "pipeline.process",
                "        lane = inlet.lane\n        if not lane.straight:\n            self._release(inlet, savepoint, items)\n",
                "        lane = inlet.lane\n"
                "        savepoint.writes = None\n"
                "        with self.admission.lock:\n"
                "            self.admission._merge(savepoint)\n"
                "        if not lane.straight:\n            self._release(inlet, savepoint, items)\n",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_a_failing_record_is_retried_then_buried_and_its_neighbours_go_on",
        shows=r"b'bad', b'bad'",
    ),
    "failed-marks-stay": Weakening(
        rule="§4 savepoint",
        lacks="writes a dedupe mark outside the record's savepoint",
        costs="a record that was buried is dropped as its own duplicate when it is replayed: lost",
        edits=(
            Edit(
                "pipeline.dedupe",
                "            savepoint.mark = (partition, key, mark)\n",
                "            partition.open[key] = mark\n",
            ),
        ),
        test=f"{UNIT}/test_failed_records.py::test_a_record_that_was_buried_leaves_no_mark_and_its_replay_works",
        shows=r"\[b'a'\] == ",
    ),
    "failed-marks-stay-in-real-workers": Weakening(
        rule="§4 savepoint",
        lacks="writes a dedupe mark outside the record's savepoint",
        costs="the ledger finds a changelog without its marks, and orders lost whose agent raised",
        edits=(
            Edit(
                "pipeline.dedupe",
                "            savepoint.mark = (partition, key, mark)\n",
                "            partition.open[key] = mark\n",
            ),
        ),
        test="tests/integration/order_processor/test_orders_that_fail.py::test_failing_orders_are_buried_once_through_a_kill",
        shows=r"CHANGELOG_MISMATCH x",
        slow=True,
    ),
    "outputs-before-admission": Weakening(
        rule="§4 savepoint",
        lacks="gives an output to the producer when it is sent, not when its record is admitted",
        costs="outputs of a record that failed afterwards are in the transaction and cannot be taken back",
        edits=(
            Edit(
                "pipeline.savepoint",
                '            raise SavepointEnded(self._ended("send"))\n        if self.outputs is None:\n',
                '            raise SavepointEnded(self._ended("send"))\n'
                "        admission = self.lane.inlets[0].agent.admission\n"
                "        with admission.lock:\n"
                "            admission._send(self, [outgoing])\n"
                "        return\n"
                "        if self.outputs is None:\n",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_a_failing_record_is_retried_then_buried_and_its_neighbours_go_on",
        shows=r"b'bad'",
    ),
    "admitted-behind-an-unfinished-record": Weakening(
        rule="§4 admission",
        lacks="admits what is done though a record before it is not",
        costs="the committed offset passes a record in hand: a crash loses it",
        edits=(
            Edit(
                "pipeline.engine",
                "        while window and window[0].done:\n            entry = window.popleft()\n",
                "        for entry in [each for each in window if each.done]:\n            window.remove(entry)\n",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_what_is_done_behind_an_unfinished_record_produces_nothing",
        shows=r"== \[\]",
    ),
    "ended-savepoints-send": Weakening(
        rule="§4 savepoint",
        lacks="takes a send with the context of a record that is done",
        costs="what a forgotten task sends is thrown away without a word",
        edits=(
            Edit(
                "pipeline.savepoint",
                '        if not self.is_open:\n            raise SavepointEnded(self._ended("send"))\n        if self.outputs',
                "        if self.outputs",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_a_task_that_outlives_its_record_cannot_join_it",
        shows=r"isinstance\(None",
    ),
    "ended-savepoints-write": Weakening(
        rule="§4 savepoint",
        lacks="takes a table write with the context of a record that is done",
        costs="what a forgotten task writes is thrown away without a word",
        edits=(
            Edit(
                "pipeline.savepoint",
                '        if not self.is_open:\n            raise SavepointEnded(self._ended("table access"))\n',
                "",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_a_table_used_after_its_record_raises",
        shows=r"DID NOT RAISE",
    ),
    "savepoints-overlap-on-a-line": Weakening(
        rule="§4 line",
        lacks="starts a record while another that may touch a table is in hand on its line",
        costs="both read the old value: a lost update, or a duplicate that passes",
        edits=(
            Edit(
                "pipeline.cursor",
                "        if holder is not None and holder is not inlet.queue[0]:\n            return False\n",
                "",
            ),
            Edit(
                "pipeline.process",
                "            if lane.line.holder is not None and lane.line.holder is not inlet.queue[0]:\n                continue\n",
                "",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_dedupe_lets_actors_overlap_over_partitions_only",
        shows=r"== \{0: 1, 1: 1\}",
    ),
    "topics-of-a-table-are-two-lines": Weakening(
        rule="§4 line",
        lacks="holds a line for one topic only where several share a table",
        costs="records of two topics read the old value of one key at the same time: a lost update",
        edits=(
            Edit(
                "pipeline.group",
                "                key = (self._set_of(partition.topic), partition.number)\n",
                "                key = (partition.topic, partition.number)\n",
            ),
        ),
        test=f"{UNIT}/test_records.py::test_two_topics_that_share_a_table_take_turns_and_nobody_starves",
        shows=r"assert 2 == 1",
    ),
    "overlapping-records-touch-tables": Weakening(
        rule="§4 line",
        lacks="lets records that overlap (concurrency) touch a table",
        costs="lost updates, in whatever order the calls happen to end",
        edits=(Edit("pipeline.savepoint", "        if not self.exclusive:\n", "        if False:\n"),),
        test=f"{UNIT}/test_records.py::test_records_that_overlap_may_not_touch_a_table",
        shows=r"IndexError",
    ),
    "tables-not-rolled-back": Weakening(
        rule="§4 abort",
        lacks="keeps the overlays of a unit that is aborted",
        costs="the records are read again and counted twice",
        edits=(
            Edit(
                "pipeline.admission",
                "                partition.drop_open()\n",
                "                pass\n",
            ),
            Edit(
                "pipeline.admission",
                "                    partition.drop_committing()\n",
                "                    pass\n",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_tables_are_as_before_and_the_second_life_counts_what_the_first_did",
        shows=r"b'4'",
    ),
    "applied-before-the-commit": Weakening(
        rule="§4 commit, 6",
        lacks="applies the overlay to the store before the transaction is committed",
        costs="an abort or a crash in between leaves on disk what never happened",
        edits=(
            Edit(
                "pipeline.commit",
                "        self.asked = True\n        self.producer.commit(deadline)\n",
                "        self.apply()\n        self.asked = True\n        self.producer.commit(deadline)\n",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_the_disk_holds_nothing_of_a_unit_before_it_is_committed",
        shows=r"b'2'.* == .*b'1'",
    ),
    "a-commit-takes-the-next-units-writes": Weakening(
        rule="§4 commit",
        lacks="has no overlay of its own for what is done during a commit",
        costs="work whose transaction then aborts is on the disk already",
        edits=(
            Edit(
                "pipeline.overlay",
                "        self.committing = self.open\n        self.open = {}\n",
                "        self.open = {**self.committing, **self.open}\n        self.committing = self.open\n",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_what_was_done_during_a_commit_goes_down_with_its_own_unit",
        shows=r"b'4'",
    ),
    "coroutines-live-on": Weakening(
        rule="§4 abort",
        lacks="leaves agents' coroutines running over an abort",
        costs="totals that an agent keeps in its locals hold records that never happened, and those twice",
        edits=(
            Edit(
                "pipeline.engine",
                "        for agent in self._agents:\n            agent.restart()\n        for tick in ticks:\n",
                "        for tick in ticks:\n",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_what_the_coroutine_knew_of_an_aborted_unit_is_lost_with_it",
        shows=r"its second life knows of neither",
    ),
    "only-the-units-partitions-are-rewound": Weakening(
        rule="§4 abort",
        lacks="rewinds the partitions that the aborted unit holds, and no others",
        costs="a record in hand elsewhere is dropped with its coroutine and never read again: lost",
        edits=(
            Edit(
                "pipeline.group",
                "                if lane.state is LaneState.RUNNING:\n                    lane.move(LaneState.REWINDING)\n",
                "                units = (self._admission.unit, self._admission.flight or self._admission.unit)\n"
                "                if lane.state is LaneState.RUNNING and any(lane in unit.lanes for unit in units):\n"
                "                    lane.move(LaneState.REWINDING)\n",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_a_record_in_hand_on_a_partition_that_the_unit_does_not_hold_is_run_again",
        shows=r"assert |not in 5.0 s",
        slow=True,
    ),
    "timers-not-run-again": Weakening(
        rule="§4 abort",
        lacks="forgets the timers' runs whose work went down with a unit",
        costs="a daily report is missing because of one rebalance",
        edits=(
            Edit(
                "pipeline.engine",
                "        for tick in ticks:\n            self.ticks.run_again(tick)\n",
                "",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_a_timers_run_that_went_down_is_made_up_for_once",
        shows=r"not in 5.0 s",
        slow=True,
    ),
    "pauses-outlive-a-rewind": Weakening(
        rule="§4 abort",
        lacks="keeps a lane's reasons to stand over a rewind",
        costs="a partition in backoff stands for ever after an abort",
        edits=(
            Edit(
                "pipeline.group",
                "                if reason != REVOKED and reason not in lane.lasting:\n                    lane.unpause(reason)\n",
                "                pass\n",
            ),
        ),
        test=f"{UNIT}/test_aborts.py::test_a_record_in_backoff_is_tried_again_though_its_lane_was_rewound_meanwhile",
        shows=r"not in 5.0 s; in/0: 1 of 2",
        slow=True,
    ),
    "marks-before-outputs": Weakening(
        rule="§1 at_least_once",
        lacks="writes the changelog before the outputs are durable, without transactions",
        costs="a mark outlives its output in a crash, and drops the record when it is read again: lost",
        edits=(
            Edit(
                "pipeline.commit",
                "        self._produce_outbox(deadline)\n        self.producer.flush(deadline)\n"
                "        reached(FaultPoint.AFTER_FLUSH)\n        self._produce_changelog(deadline)\n",
                "        self._produce_changelog(deadline)\n        self._produce_outbox(deadline)\n"
                "        self.producer.flush(deadline)\n        reached(FaultPoint.AFTER_FLUSH)\n",
            ),
        ),
        test="tests/integration/transactions/test_at_least_once_order.py::"
        "test_outputs_then_changelog_then_offsets_each_durable_before_the_next",
        shows=r"before its output was durable",
    ),
    "nothing-is-held": Weakening(
        rule="block_key",
        lacks="looks whether a record's key is blocked",
        costs="a customer's later order is processed before the one that waits in the dead-letter topic",
        edits=(
            Edit(
                "pipeline.blocks",
                "        blocked = None if key is None else self.by_key.get(key)\n",
                "        blocked = None\n",
            ),
        ),
        test=f"{UNIT}/test_order_of_blocked_keys.py::test_each_keys_records_come_in_order_and_once",
        shows=r"instead of \[b'",
    ),
    "blocks-are-not-read-anew": Weakening(
        rule="block_key",
        lacks="reads what is blocked when a partition begins anew",
        costs="after a crash, a revoke or an abort, what waited is lost and what comes next overtakes it",
        edits=(Edit("pipeline.holding", "            blocks.load()\n", "            pass\n"),),
        test=f"{UNIT}/test_order_of_blocked_keys.py::test_each_keys_records_come_in_order_and_once",
        shows=r"instead of \[b'|replayed in vain",
    ),
}
