"""Without what finds a record that kills its process, and blames nobody else (OPERATIONS §1.8)."""

from __future__ import annotations

from typing import Final

from tests.support.weakening import Edit, Weakening

UNIT: Final = "tests/unit/pipeline"
LIVES: Final = f"{UNIT}/test_a_record_that_ends_the_process.py"
RULE: Final = "OPERATIONS 1.8"

SUSPECTS: Final = {
    "starts-are-not-counted": Weakening(
        rule=RULE,
        lacks="starts without counting it",
        costs="a record that kills its worker kills every one of them, for ever",
        edits=(
            Edit(
                "pipeline.isolation",
                "                    self._admission.tell(lane, life.started())\n",
                "                    life.is_counted = True\n",
            ),
        ),
        test=f"{LIVES}::test_a_worker_that_failed_does_not_forget_the_count_as_it_leaves",
        shows=r"starts: 0 != 1",
    ),
    "progress-does-not-begin-the-count-anew": Weakening(
        rule=RULE,
        lacks="counts starts on although the offset advances",
        costs="every third restart of a healthy worker takes its records one by one",
        edits=(
            Edit(
                "pipeline.suspects",
                "    return present if committed is not None and upto <= committed else NOTHING\n",
                "    return present\n",
            ),
        ),
        test=f"{UNIT}/test_suspects.py::test_a_commit_that_advances_the_offset_counts_nothing_and_any_other_what_was_there",
        shows=r"starts: 2 != 0",
    ),
    "clean-ends-are-counted": Weakening(
        rule=RULE,
        lacks="leaves its count beside the offset at a clean stop",
        costs="restarts in order make a suspect of a partition that waits for a slow record",
        edits=(
            Edit("pipeline.engine", "            self.admission.release(list(self.group.lanes.values()), for_good=True)\n", ""),
        ),
        test=f"{LIVES}::test_a_clean_end_without_progress_is_not_counted[stop]",
        shows=r"starts=0, tries=1",
    ),
    "failed-ends-are-not-counted": Weakening(
        rule=RULE,
        lacks="takes the end of a worker that failed for a clean one",
        costs="a record whose agent runs out of memory, by exception, ends every worker, for ever",
        edits=(Edit("pipeline.admission", '        if "failed" in self._closed_for:\n            return\n', ""),),
        test=f"{LIVES}::test_a_worker_that_failed_does_not_forget_the_count_as_it_leaves",
        shows=r"starts: 0 != 1",
    ),
    "others-work-beside-a-suspect": Weakening(
        rule=RULE,
        lacks="tries a suspect's record while other partitions are at work",
        costs="a death of theirs is taken for the record's",
        edits=(
            Edit(
                "pipeline.isolation",
                "                other.pause(ISOLATION)\n            else:\n",
                "                pass\n            else:\n",
            ),
            Edit("pipeline.isolation", "                other.drains = True  #", "                pass  #"),
            Edit("pipeline.isolation", "        for other in others:\n            other.pause(ISOLATION)\n", ""),
            Edit(
                "pipeline.isolation",
                "                if lane not in self._order:\n                    lane.pause(ISOLATION)\n",
                "                pass\n",
            ),
        ),
        test=f"{LIVES}::test_a_suspects_records_come_one_to_a_transaction_and_with_none_of_anybody_elses",
        shows=r"b'1-a'",
    ),
    "the-mark-outlives-the-turn": Weakening(
        rule=RULE,
        lacks="leaves the mark of a tried record where it is when the turn ends",
        costs="the death that another suspect's record causes is counted against it, too",
        edits=(
            Edit(
                "pipeline.suspects",
                "            self.is_over = True\n            return NOTHING\n",
                "            self.is_over = True\n            return Count(0, 1, upcoming)\n",
            ),
        ),
        test=f"{UNIT}/test_suspects.py::test_a_turn_ends_after_so_many_records",
        shows=r"tries: 1 != 0",
    ),
    "whatever-stands-there-is-blamed": Weakening(
        rule=RULE,
        lacks="blames the record at the committed offset, whichever was tried",
        costs="the record behind one that was compacted away is buried for it",
        edits=(
            Edit(
                "pipeline.suspects",
                "        before = self.tries if record == self._found.offset else 0\n",
                "        before = self.tries\n",
            ),
        ),
        test=f"{UNIT}/test_suspects.py::test_tries_of_one_record_are_not_another_records",
        shows=r"tries: 2 != 1",
    ),
    "a-lost-session-is-a-death": Weakening(
        rule=RULE,
        lacks="counts what this very process wrote before it lost its session",
        costs="a network that fails for minutes makes suspects of all partitions, and has a record buried",
        edits=(Edit("pipeline.suspects", "    if not me or found.by != me:\n", "    if found is not None:\n"),),
        test=f"{LIVES}::test_a_process_that_loses_its_session_again_and_again_suspects_and_blames_nothing",
        shows=r"not in 5.0 s",  # made a suspect, it waits for its turn
    ),
    "whoever-tried-is-dead": Weakening(
        rule=RULE,
        lacks="takes it for an end that another worker tried a record and did not finish it",
        costs="a record is buried because two workers in turn lost their session over it",
        edits=(
            Edit("pipeline.suspects", "    return not life or not me or life.partition", "    return True or life.partition"),
        ),
        test=f"{UNIT}/test_suspects.py::test_a_record_that_another_worker_tried_last_is_given_more_tries_as_that_one_may_be_alive",
        shows=r"\[None, None, 11",
    ),
    "each-turn-is-a-death": Weakening(
        rule=RULE,
        lacks="raises the tries of a record whenever it hands it over, not only after a death",
        costs="a slow broker, which drops the unit twice, has the record buried",
        edits=(
            Edit(
                "pipeline.isolation",
                "                if not await self._counts(lane, life.trying(offset, lane.next_offset)) or not self._may(lane, number):\n",
                "                raised = Count(lane.count.starts, lane.count.tries + 1, offset)\n"
                "                if not await self._counts(lane, raised) or not self._may(lane, number):\n",
            ),
        ),
        test=f"{LIVES}::test_units_that_are_dropped_while_a_record_is_tried_add_nothing",
        shows=r"\{1, 2",
    ),
    "tries-that-were-not-made-count": Weakening(
        rule=RULE,
        lacks="takes a try that was counted for one that was made",
        costs="whatever ends the process at its first commit, life after life, has a record buried that no agent was given",
        edits=(
            Edit(
                "pipeline.suspects",
                "        self.tries = found.tries if was_in_hand else max(0, found.tries - 1)\n",
                "        self.tries = found.tries\n",
            ),
        ),
        test=f"{LIVES}::test_a_process_that_ends_in_a_commit_blames_no_record[a try counted]",
        shows=r"killed-worker",
    ),
    "what-is-delivered-is-in-hand": Weakening(
        rule=RULE,
        lacks="holds a record in hand until its transaction has ended",
        costs="whatever ends the process at a commit, life after life, has a record buried that was done",
        edits=(Edit("pipeline.engine", "        self._isolation.delivered(unit)\n", ""),),
        test=f"{LIVES}::test_a_process_that_ends_in_a_commit_blames_no_record[a record not committed]",
        shows=r"killed-worker",
    ),
}
