"""Without what keeps tables equal to their changelogs: rule 12 and the restores of §5."""

from __future__ import annotations

from typing import Final

from tests.support.weakening import Edit, Weakening

RULES: Final = "tests/integration/transactions"
RECOVERY: Final = "tests/integration/recovery"
STATE: Final = "tests/unit/state"
UNIT: Final = "tests/unit/pipeline"

TABLES: Final = {
    "rewound-for-a-disk-that-refused": Weakening(
        rule="12",
        lacks="aborts and rewinds for a committed transaction whose overlay the disk refused",
        costs="its records are done a second time",
        edits=(
            Edit(
                "pipeline.transaction",
                "        refused = commit.apply()\n",
                "        refused = commit.apply()\n"
                "        if refused:\n"
                "            self._drop(UnitAborted('weakened'), unknown=False)\n"
                "            return False\n",
            ),
        ),
        test=f"{RULES}/test_rule_12_a_disk_that_refuses.py::test_its_records_are_not_run_again_and_the_tail_is_restored",
        shows=r"each was counted once|not within .*refused",
        slow=True,
    ),
    "overlay-dropped-before-it-is-written": Weakening(
        rule="12",
        lacks="forgets the overlay whether the disk took it or not",
        costs="until the restore is done, records read values of before the commit",
        edits=(
            Edit(
                "pipeline.commit",
                "                refused[partition] = failure\n            else:\n                partition.applied()\n",
                "                refused[partition] = failure\n            partition.applied()\n",
            ),
        ),
        test=f"{RULES}/test_rule_12_a_disk_that_refuses.py::"
        "test_the_record_in_hand_reads_what_was_committed_all_the_time_and_runs_again",
        shows=r"assert ",
    ),
    "restores-beside-an-apply": Weakening(
        rule="12",
        lacks="restores a store while a batch for it may still come",
        costs="the batch overwrites what a later owner wrote",
        edits=(
            Edit(
                "pipeline.group",
                "        return flight is not None and any(",
                "        return False and any(",
            ),
        ),
        test=f"{RULES}/test_rule_12_a_disk_that_refuses.py::"
        "test_a_batch_of_an_earlier_assignment_is_not_written_over_a_later_owners_work",
        shows=r"a restore wrote beside the batch",
        slow=True,
    ),
    "batches-of-an-older-lane-are-applied": Weakening(
        rule="12",
        lacks="applies a batch though its partition went away and came back meanwhile, and restores beside it",
        costs="what another owner wrote meanwhile is overwritten",
        covered="no restore begins while the batch may come, so it brings back what the batch overwrote: both are off",
        edits=(
            Edit(
                "pipeline.commit", "            if self._ownership.superseded(self.unit, partition):\n", "            if False:\n"
            ),
            Edit(
                "pipeline.group",
                "        return flight is not None and any(",
                "        return False and any(",
            ),
        ),
        test=f"{RULES}/test_rule_12_a_disk_that_refuses.py::"
        "test_a_batch_of_an_earlier_assignment_is_not_written_over_a_later_owners_work",
        shows=r"'0': 9",
        slow=True,
    ),
    "restored-to-the-last-stable-offset": Weakening(
        rule="§5 restore",
        lacks="ends a restore at the last stable offset",
        costs="what committed behind an open transaction is missing from the table: duplicates pass, sums are too small",
        edits=(
            Edit(
                "kafka.changelog",
                "            answer = self._watermarks.get_watermark_offsets(_row(partition), timeout=timeout, cached=False)\n",
                "            answer = self._reader.get_watermark_offsets(_row(partition), timeout=timeout, cached=False)\n",
            ),
        ),
        test=f"{RECOVERY}/test_restore_waits_for_open_transactions.py::"
        "test_what_committed_behind_an_open_transaction_is_in_the_restore",
        shows=r"ended without it",
    ),
    "restored-before-the-offsets-are-known": Weakening(
        rule="§5 restore",
        lacks="restores before it has the committed offsets",
        costs="the old owner's last transaction may come in between: its records count as done and are in no table",
        edits=(
            Edit(
                "pipeline.group",
                "        while not await self._read_committed(alive()):\n            pass\n"
                "        lines = {lane.line: lane for lane in alive()}\n",
                "        lines = {lane.line: lane for lane in alive()}\n"
                "        await asyncio.gather(*(self._restore_line(lane, alive) for lane in lines.values()))\n"
                "        while not await self._read_committed(alive()):\n            pass\n",
            ),
        ),
        test=f"{UNIT}/test_restores.py::test_no_table_is_restored_before_the_committed_offsets_are_known",
        shows=r"\('totals', 0\)",
    ),
    "opened-before-it-is-restored": Weakening(
        rule="§5 restore",
        lacks="starts records before their tables are restored",
        costs="they count from nothing",
        edits=(
            Edit(
                "pipeline.group",
                "        await self._restore_line(first, alive)\n",
                "        asyncio.ensure_future(self._restore_line(first, alive))\n",
            ),
        ),
        test=f"{UNIT}/test_restores.py::test_no_record_is_begun_before_its_tables_are_restored",
        shows=r"assert ",
    ),
    "the-tail-is-not-read": Weakening(
        rule="§5 restore",
        lacks="takes a store as it is found",
        costs="a crash between commit and apply loses the last unit's writes",
        edits=(
            Edit(
                "state.restore",
                "        if self._position >= self._target:\n            self._finish({})\n            return\n        log_event(\n",
                "        if stored is not None:\n            self._position = self._target\n"
                "        if self._position >= self._target:\n            self._finish({})\n            return\n        log_event(\n",
            ),
        ),
        test=f"{STATE}/test_recovery.py::test_only_the_tail_is_read",
        shows=r"assert ",
    ),
    "nothing-is-restored-in-real-workers": Weakening(
        rule="§5 restore",
        lacks="takes an empty store for a whole one",
        costs="the ledger finds every duplicate priced, and the sums begun anew",
        edits=(
            Edit(
                "state.restore",
                "        if self._position >= self._target:\n            self._finish({})\n            return\n        log_event(\n",
                "        self._position = self._target\n"
                "        if self._position >= self._target:\n            self._finish({})\n            return\n        log_event(\n",
            ),
        ),
        test="tests/integration/order_processor/test_an_empty_data_directory.py::test_tables_rebuilt_from_changelogs_go_on",
        shows=r"DOUBLED x",
        slow=True,
    ),
    "stores-have-no-position": Weakening(
        rule="§4 commit, 6",
        lacks="writes no changelog offset with a batch",
        costs="each restart reads the whole changelog",
        edits=(
            Edit(
                "pipeline.commit",
                "                partition.store.apply(partition.committing, self._ends.get(partition))\n",
                "                partition.store.apply(partition.committing, None)\n",
            ),
        ),
        test=f"{RULES}/test_rule_10_unknown_outcomes.py::test_only_the_tail_is_restored_after_a_lost_answer",
        shows=r"<= 3",
    ),
    "position-written-on-its-own": Weakening(
        rule="§4 commit, 6",
        lacks="writes a batch's changelog offset before the batch, not in it",
        costs="after a crash in between the store claims what it does not hold: lost writes",
        edits=(
            Edit(
                "state.rocksdb",
                "            self._write(lambda: _batch(writes, offset, moment))\n",
                "            self._write(lambda: _batch({}, offset, moment))\n"
                "            self._write(lambda: _batch(writes, offset, moment))\n",
            ),
        ),
        test=f"{STATE}/test_rocksdb.py::test_a_log_torn_anywhere_gives_some_earlier_state_whole",
        shows=r"assert ",
    ),
    "a-stale-store-is-kept": Weakening(
        rule="§5 restore",
        lacks="keeps a store whose offset the changelog no longer has",
        costs="keys that were deleted meanwhile are back",
        edits=(
            Edit(
                "state.restore",
                "        if reason := self._why_not(self._store, bounds):\n            self.wipe(reason)\n",
                "",
            ),
        ),
        test=f"{STATE}/test_recovery.py::test_an_offset_outside_the_log_wipes[0-101-beyond the changelog's end 100]",
        shows=r"assert ",
    ),
    "old-tombstones-are-forgotten": Weakening(
        rule="§5 restore",
        lacks="keeps a store that is older than the changelog's tombstones",
        costs="keys that were deleted meanwhile are back",
        edits=(Edit("state.restore", "        if age > self.task.delete_retention:\n", "        if False:\n"),),
        test=f"{STATE}/test_recovery.py::test_a_store_older_than_the_tombstones_is_wiped",
        shows=r"assert ",
    ),
    "foreign-stores-are-read": Weakening(
        rule="§5 store",
        lacks="opens a store whoever wrote it",
        costs="another partition's, app's or topic's values are taken for its own",
        edits=(Edit("state.rocksdb", "            self._identity.check(stored)\n", "            pass\n"),),
        test=f"{STATE}/test_rocksdb.py::test_another_partitions_directory_is_foreign",
        shows=r"DID NOT RAISE",
    ),
    "large-records-count-once": Weakening(
        rule="everything bounded",
        lacks="counts a fetched record as one, however large it is",
        costs="16,384 records of a megabyte wait behind a slow agent: the kernel kills the worker",
        edits=(Edit("pipeline.lane", "        return max(self.waiting, size // HEAVY)\n", "        return self.waiting\n"),),
        test=f"{UNIT}/test_large_records_count_for_several.py::test_large_ones_count_by_their_size",
        shows=r"assert 16 == ",
    ),
    "overlays-without-a-bound": Weakening(
        rule="§5 overlay",
        lacks="lets an overlay grow until the commit interval has passed",
        costs="memory",
        edits=(
            Edit(
                "pipeline.admission",
                '        """The unit\'s overlay is at its bound: it is committed."""\n',
                "        return\n",
            ),
        ),
        test=f"{UNIT}/test_restores.py::test_an_overlay_at_its_bound_is_committed_early",
        shows=r"not in 5.0 s",
        slow=True,
    ),
}
