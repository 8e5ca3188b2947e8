"""Without what ties a transaction to the group's partitions: rules 2, 3, 5, 6 and 18 to 22, and the revokes of §6."""

from __future__ import annotations

from typing import Final

from tests.support.weakening import Edit, Weakening

RULES: Final = "tests/integration/transactions"
REBALANCE: Final = "tests/integration/rebalance"
UNIT: Final = "tests/unit/pipeline"

GROUPS: Final = {
    "deaf-clients-are-kept": Weakening(
        rule="19",
        lacks="keeps a consumer that was told of no broker, and so hears of none again",
        costs="after a freeze of the only broker workers stay without partitions until they are restarted",
        edits=(Edit("kafka.source", "                elif self._is_deaf():\n", "                elif False:\n"),),
        test="tests/integration/faults/test_connections_and_broker_fail.py::"
        "test_a_worker_that_is_told_of_no_broker_at_all_finds_one_again",
        shows=r"its deaf consumers are kept",
    ),
    "no-group-metadata": Weakening(
        rule="2",
        lacks="sends offsets that name no member and no generation",
        costs="a zombie's offsets are accepted: what the new owner did is done again, or what it has not done is skipped",
        edits=(
            Edit(
                "kafka.producer",
                "                    self._bounded(self._open().send_offsets_to_transaction, rows, group, deadline)\n",
                "                    name = bytes(group)[11:].split(b'\\0')[0]\n"
                "                    nobody = b'CGMDv2:' + (-1).to_bytes(4, 'little', signed=True) + name + b'\\0\\0\\1'\n"
                "                    self._open().send_offsets_to_transaction(rows, nobody, max(0.1, deadline.left))\n",
            ),
        ),
        test=f"{RULES}/test_rule_02_group_metadata.py::test_a_zombie_whose_membership_was_taken_over_cannot_commit",
        shows=r"the zombie committed",
    ),
    "unfenced-metadata-passes": Weakening(
        rule="2",
        lacks="takes group metadata of before the join, which fences nobody",
        costs="the broker accepts such offsets from anyone",
        edits=(
            Edit(
                "kafka.source",
                "        if metadata is None or not metadata_is_fenced(metadata):\n",
                "        if metadata is None:\n",
            ),
        ),
        test=f"{RULES}/test_rule_02_group_metadata.py::"
        "test_metadata_that_fences_nobody_never_reaches_the_broker[with a negative generation]",
        shows=r"sent to the broker",
    ),
    "ownership-before-metadata": Weakening(
        rule="2",
        lacks="checks ownership first and reads the metadata after",
        costs="metadata of a later membership passes for partitions that belong to someone else by then",
        edits=(
            Edit(
                "pipeline.commit",
                "        group = self._group_metadata(early, deadline)\n        lost = self._ownership.still_owned(self.unit)\n",
                "        lost = self._ownership.still_owned(self.unit)\n        group = self._group_metadata(early, deadline)\n",
            ),
            Edit(
                "pipeline.commit",
                "        early = {lane.source: lane.source.group_metadata() for lane in self.unit.lanes}\n",
                "        early = {lane.source: None for lane in self.unit.lanes}\n",
            ),
            Edit(
                "pipeline.commit",
                "        ends = Deadline.after(deadline.slice(FRESH_WAIT))\n",
                "        ends = deadline\n",
            ),
        ),
        test=f"{RULES}/test_rule_02_group_metadata.py::test_ownership_is_checked_after_the_metadata_was_read",
        shows=r"committed though it was lost",
    ),
    "lost-partitions-are-committed": Weakening(
        rule="3",
        lacks="commits a unit that holds work of a partition that it gave away, with metadata of after that (older one the broker refuses)",
        costs="the new owner did the same records: both are seen",
        edits=(
            Edit(
                "pipeline.commit",
                "        if lost:\n"
                '            raise AssignmentLost("no longer ours: " + ", ".join(str(lane) for lane in lost))\n'
                "        for source, metadata in group.items():\n",
                "        for source, metadata in group.items():\n",
            ),
            Edit("pipeline.commit", "FRESH_WAIT = 0.005\n", "FRESH_WAIT = 20.0\n"),
        ),
        test=f"{RULES}/test_rule_03_whole_units.py::test_a_unit_of_kept_and_lost_partitions_commits_nothing",
        shows=r"doubled",
    ),
    "an-offset-is-left-out": Weakening(
        rule="3",
        lacks="leaves a lost partition's offset out and commits the rest of the unit, with metadata of after the loss",
        costs="its records' outputs are visible, and the new owner makes them again",
        edits=(
            Edit(
                "pipeline.commit",
                "        if lost:\n"
                '            raise AssignmentLost("no longer ours: " + ", ".join(str(lane) for lane in lost))\n'
                "        for source, metadata in group.items():\n",
                "        for lane in lost:\n"
                "            del self.unit.lanes[lane]\n"
                "        for source, metadata in group.items():\n",
            ),
            Edit("pipeline.commit", "FRESH_WAIT = 0.005\n", "FRESH_WAIT = 20.0\n"),
        ),
        test=f"{RULES}/test_rule_03_whole_units.py::test_a_unit_of_kept_and_lost_partitions_commits_nothing",
        shows=r"doubled",
    ),
    "work-of-before-a-rewind-counts": Weakening(
        rule="3",
        lacks="does not see that a partition was rewound since the unit's first record",
        costs="records that are read again are in one transaction twice",
        edits=(
            Edit(
                "pipeline.group",
                "if lane.number != number or lane.state is not LaneState.RUNNING]",
                "if lane.state is not LaneState.RUNNING]",
            ),
        ),
        test=f"{RULES}/test_rule_03_whole_units.py::test_work_of_before_a_rewind_is_not_committed_with_work_of_after_it",
        shows=r"doubled",
    ),
    "position-is-committed": Weakening(
        rule="5",
        lacks="commits the consumer's position()",
        costs="every record that was fetched and not done is skipped after a crash: lost",
        edits=(
            Edit(
                "pipeline.commit",
                "        for partition, (offset, _) in offsets.items():\n            if offset < 0:\n",
                "        from confluent_kafka import TopicPartition\n\n"
                "        rows = [TopicPartition(*partition) for partition in offsets]\n"
                "        asked = source._post(lambda: source._consumer.position(rows), quick=True).result(20)\n"
                "        offsets = {Partition(row.topic, row.partition): (row.offset, '') for row in asked}\n"
                "        for partition, (offset, _) in offsets.items():\n            if offset < 0:\n",
            ),
            Edit(
                "pipeline.commit",
                "from streamapp.records import Outgoing, Partition\n",
                "from streamapp.records import Outgoing, Partition\n",
            ),
        ),
        test=f"{RULES}/test_rule_05_explicit_offsets.py::test_a_record_in_hand_is_not_committed_though_the_consumer_is_far_ahead",
        shows=r"\{0: 40\} == \{0: 7\}|40 != 7|0: 40",
    ),
    "the-end-is-not-committed": Weakening(
        rule="5",
        lacks="knows no end of a partition but its last record",
        costs="lag never reaches 0 behind a producer that uses transactions",
        edits=(Edit("pipeline.group", "                lane.end_seen = batch.end\n", ""),),
        test=f"{UNIT}/test_restores.py::test_a_tail_that_no_reader_sees_is_committed_away",
        shows=r"in/0: 1 of 2",
    ),
    "timers-are-not-fenced": Weakening(
        rule="6",
        lacks="commits the work of timers without an offset",
        costs="a zombie's timer commits",
        edits=(
            Edit(
                "pipeline.commit",
                "        for source, metadata in group.items():\n",
                "        for source, metadata in group.items() if self.unit.records else ():\n",
            ),
        ),
        test=f"{RULES}/test_rule_06_timers_are_fenced.py::"
        "test_a_timer_carries_the_offset_of_the_table_partition_it_writes_and_keeps_the_metadata",
        shows=r"== \{1: \(10",
    ),
    "timers-carry-any-offset": Weakening(
        rule="6",
        lacks="has a timer's unit carry some partition's offset, not that of the table that it writes",
        costs="the table's partition moves away, and the timer's write is committed over the new owner's",
        edits=(
            Edit(
                "pipeline.tick",
                "        self.numbers |= {other: other.number for other in lane.line.lanes if other.running}\n",
                "",
            ),
        ),
        test=f"{RULES}/test_rule_06_timers_are_fenced.py::"
        "test_a_timer_carries_the_offset_of_the_table_partition_it_writes_and_keeps_the_metadata",
        shows=r"== \{1: \(10",
    ),
    "timers-carry-one-topics-offset": Weakening(
        rule="6",
        lacks="has a timer's unit carry one topic's offset where several share the table",
        costs="the same, where the partition of the other topic moves",
        edits=(
            Edit(
                "pipeline.tick",
                "        self.numbers |= {other: other.number for other in lane.line.lanes if other.running}\n",
                "        self.numbers[lane] = lane.number\n",
            ),
        ),
        test=f"{UNIT}/test_shared_lines.py::test_a_timer_that_writes_the_shared_table_carries_both_topics_offsets",
        shows=r"number=0\): 3\} == \{",
    ),
    "leader-work-is-not-fenced": Weakening(
        rule="6",
        lacks="does not tie the leader's work to partition 0 of its topic",
        costs="two leaders commit the same job",
        edits=(Edit("pipeline.ticks", "                savepoint.numbers[leader] = leader.number\n", "                pass\n"),),
        test=f"{RULES}/test_rule_06_timers_are_fenced.py::"
        "test_leader_work_carries_the_offset_of_partition_0_beside_that_of_its_table",
        shows=r"== \{0: 10, 1: 10\}",
    ),
    "metadata-strings-are-dropped": Weakening(
        rule="6",
        lacks="commits offsets with an empty metadata string",
        costs="what another tool keeps there is gone",
        edits=(Edit("pipeline.group", "        lane.count, lane.others = read(answer.metadata)\n", ""),),
        test=f"{RULES}/test_rule_06_timers_are_fenced.py::"
        "test_a_timer_carries_the_offset_of_the_table_partition_it_writes_and_keeps_the_metadata",
        shows=r"\(10, ''\)",
    ),
    "a-rival-consumer-is-joined-again-for-ever": Weakening(
        rule="18",
        lacks="joins again however often its member is fenced",
        costs="two workers of one id take the partitions from each other for ever, and nobody is told why",
        edits=(Edit("kafka.source", "RIVAL_WINDOW = 60.0\n", "RIVAL_WINDOW = 0.0\n"),),
        test=f"{RULES}/test_rule_18_a_fatal_consumer.py::test_a_second_time_within_the_minute_names_the_rival",
        shows=r"DID NOT RAISE",
    ),
    "a-fatal-consumer-stays": Weakening(
        rule="18",
        lacks="goes on polling a consumer that turned fatal",
        costs="the worker reads nothing any more, and says that all is well",
        edits=(
            Edit(
                "kafka.source",
                "        elif error.fatal() or code in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):\n            self._fatal(error)\n",
                "        elif error.fatal() or code in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID):\n            pass\n",
            ),
        ),
        test=f"{RULES}/test_rule_18_a_fatal_consumer.py::test_a_real_rival_takes_over_once_and_the_worker_takes_it_back",
        shows=r"not within .*fenced",
        slow=True,
    ),
    "joined-again-before-the-abort": Weakening(
        rule="18",
        lacks="does not give up the open unit before it joins with a new consumer",
        costs="a unit of the old membership is open while the new one gets the same partitions",
        edits=(
            Edit(
                "kafka.source",
                "        self._lose(list(self._numbers))\n        self._replace(\n            told,\n",
                "        self._replace(\n            told,\n",
            ),
            Edit("kafka.source", "                old.close()\n", "                pass\n"),
        ),
        covered="the close of the old consumer gives its partitions back, and a closed one has no metadata to commit with: both are off",
        test=f"{RULES}/test_rule_18_a_fatal_consumer.py::test_the_open_unit_is_given_up_before_the_new_consumer_joins",
        shows=r"assert ",
    ),
    "an-admin-client-lives": Weakening(
        rule="19",
        lacks="keeps one AdminClient for the worker's life",
        costs="wrong answers for minutes after a broker's restart, and crashes while coordinators load",
        edits=(
            Edit(
                "assembly",
                "        self._cluster = Cluster(settings, lambda: KafkaAdmin(client_config.admin(settings)), agents, tables, topics)\n",
                "        admin = KafkaAdmin(client_config.admin(settings))\n"
                "        self._cluster = Cluster(settings, lambda: admin, agents, tables, topics)\n",
            ),
        ),
        test=f"{RULES}/test_rule_19_no_admin_client.py::test_none_is_made_or_used_while_a_worker_runs",
        shows=r"those of the start are gone",
    ),
    "late-results-are-taken": Weakening(
        rule="20",
        lacks="admits a record that was in hand when its partition was rewound",
        costs="it is read again and done twice",
        edits=(
            Edit(
                "pipeline.admission",
                "            if lane.number != savepoint.number or not lane.running:\n",
                "            if False:\n",
            ),
        ),
        test=f"{REBALANCE}/test_rule_20_lane_numbers.py::test_records_fetched_before_a_rewind_are_not_done_after_it",
        shows=r"doubled|lost",
    ),
    "late-batches-are-taken": Weakening(
        rule="20",
        lacks="takes batches that were fetched under an older lane number",
        costs="records that are read again after a rewind are done twice",
        covered="a lane is emptied when it is opened, and batches come before that in the loop's order: both are off",
        edits=(
            Edit(
                "pipeline.group",
                "            if lane is None or lane.number != batch.number or lane.state is LaneState.CLOSED:\n",
                "            if lane is None or lane.state is LaneState.CLOSED:\n",
            ),
            Edit(
                "pipeline.group",
                "            lane.clear()\n            if lane.line.holder is not None and all(",
                "            if lane.line.holder is not None and all(",
            ),
        ),
        test=f"{REBALANCE}/test_rule_20_lane_numbers.py::test_records_fetched_before_a_rewind_are_not_done_after_it",
        shows=r"doubled|lost",
    ),
    "numbered-without-a-seek": Weakening(
        rule="20",
        lacks="gives a rewound partition its new number and does not seek",
        costs="what was aborted is never read again: lost",
        edits=(Edit("kafka.source", "        for row in rows:\n            self._seek(consumer, row)\n", ""),),
        test=f"{REBALANCE}/test_rule_20_lane_numbers.py::test_a_record_stuck_over_a_rewind_can_neither_send_nor_write",
        shows=r"lost|not caught up",
        slow=True,
    ),
    "a-stuck-record-writes": Weakening(
        rule="20",
        lacks="leaves the savepoint of a record open over a rewind",
        costs="a call that comes back late sends and writes beside the second attempt",
        edits=(
            Edit(
                "pipeline.process",
                "            if savepoint is not None:\n                savepoint.is_open = False\n                cursor.savepoint = None\n",
                "            if savepoint is not None:\n                cursor.savepoint = None\n",
            ),
        ),
        test=f"{REBALANCE}/test_rule_20_lane_numbers.py::test_a_record_stuck_over_a_rewind_can_neither_send_nor_write",
        shows=r"assert 0 == 2|assert 0 ==",
    ),
    "a-late-timer-writes": Weakening(
        rule="20",
        lacks="admits a timer's run that began before a rewind",
        costs="it writes what it made of a value that others have changed since: a lost update",
        edits=(
            Edit(
                "pipeline.admission",
                "            if any(lane.number != number or not lane.running for lane, number in lanes):\n",
                "            if any(not lane.running for lane, number in lanes):\n",
            ),
        ),
        test=f"{REBALANCE}/test_rule_20_lane_numbers.py::test_a_timers_run_over_a_rewind_starts_anew_and_overwrites_nothing",
        shows=r"1010|not within",
        slow=True,
    ),
    "other-threads-touch-the-consumer": Weakening(
        rule="21",
        lacks="asks the consumer for its metadata on the transaction thread",
        costs="the call does not get in beside a busy poll loop: not one commit in 30 s",
        edits=(
            Edit(
                "kafka.source",
                "        return self._post(self._metadata_now, quick=True)\n",
                "        answer: Future[GroupMetadata] = Future()\n"
                "        answer.set_result(self._metadata_now())\n"
                "        return answer\n",
            ),
        ),
        test=f"{REBALANCE}/test_rule_21_one_thread_per_consumer.py::"
        "test_no_other_thread_touches_a_consumer_over_commits_aborts_and_rebalances",
        shows=r"kafka-txn|'aborts': 0, 'producer_rebuilds': 0, 'records': 0",
        slow=True,
    ),
    "callbacks-answer-nothing": Weakening(
        rule="21",
        lacks="waits in a revoke without answering what the commit asks for",
        costs="the commit waits for the callback and the callback for the commit, until the revoke's time is over",
        edits=(
            Edit(
                "kafka.source",
                "            self._answer(quick_only=True)\n            with contextlib.suppress(TimeoutError, Exception):\n",
                "            with contextlib.suppress(TimeoutError, Exception):\n",
            ),
        ),
        test=f"{REBALANCE}/test_rule_21_one_thread_per_consumer.py::test_the_revoke_of_a_close_commits_as_well",
        shows=r"== \(1, 0\)",
        slow=True,
    ),
    "a-resolved-start-is-not-committed": Weakening(
        rule="22",
        lacks="keeps where it began to itself until a record is done",
        costs="a restart resolves `latest` again and skips what came meanwhile: lost",
        edits=(
            Edit(
                "pipeline.group",
                "            lane.committed = max(start, self._starts[lane.partition])\n            lane.unresolved = True\n",
                "            lane.committed = max(start, self._starts[lane.partition])\n",
            ),
        ),
        test=f"{RULES}/test_rule_22_start_position.py::"
        "test_without_a_committed_offset_the_reset_is_resolved_once_and_its_number_committed[latest-10]",
        shows=r"a number is committed before any record is done",
        slow=True,
    ),
    "latest-is-resolved-again": Weakening(
        rule="22",
        lacks="asks again where `latest` is, after an unknown outcome",
        costs="records that came meanwhile are skipped: lost",
        edits=(Edit("pipeline.group", "            if lane.partition not in self._starts:\n", "            if True:\n"),),
        test=f"{RULES}/test_rule_22_start_position.py::"
        "test_an_unknown_outcome_before_the_first_commit_does_not_resolve_latest_again",
        shows=r"== \[10, 11",
    ),
    "beyond-the-end-starts-from-zero": Weakening(
        rule="22",
        lacks="begins at the log's start where the committed offset lies beyond its end",
        costs="a topic made anew, or a broker that lost its log, is done a second time without a word",
        edits=(
            Edit(
                "pipeline.group",
                "        elif answer.offset > end:\n            self._stand(\n",
                "        elif answer.offset > end:\n            lane.committed = start\n        elif False:\n            self._stand(\n",
            ),
        ),
        test=f"{RULES}/test_rule_22_start_position.py::"
        "test_a_partition_committed_beyond_the_logs_end_stands_and_is_named_while_others_go_on",
        shows=r"== \[\{",
    ),
    "a-loss-is-not-told": Weakening(
        rule="22",
        lacks="goes on behind records that were deleted unread, and says nothing",
        costs="nobody knows that retention took them",
        edits=(
            Edit(
                "pipeline.group",
                "                log, logging.ERROR, Event.RECORDS_LOST,\n",
                "                log, logging.DEBUG, Event.RECORDS_LOST,\n",
            ),
        ),
        test=f"{RULES}/test_rule_22_start_position.py::"
        "test_records_deleted_unread_are_counted_and_the_partition_goes_on_behind_them",
        shows=r"== \[7\]",
    ),
    "librdkafka-resets-offsets": Weakening(
        rule="22",
        lacks="lets librdkafka reset an offset by itself",
        costs="an offset out of range begins at one end of the log, without a word",
        edits=(
            Edit(
                "kafka.client_config",
                '        "auto.offset.reset": "error",\n        "allow.auto',
                '        "auto.offset.reset": "earliest",\n        "allow.auto',
            ),
        ),
        test="tests/unit/kafka/test_client_config.py::test_what_exactly_once_rests_on_is_in_every_client",
        shows=r"'earliest' == 'error'",
    ),
    "kept-partitions-lose-what-was-fetched": Weakening(
        rule="§6 revoke",
        lacks="drops the fetched records of kept partitions as well",
        costs="gaps in offsets are legal, so nobody notices: lost",
        edits=(
            Edit(
                "pipeline.group",
                "        for lane in lanes:\n            lane.clear()\n            for inlet in lane.inlets:\n                inlet.agent.close_inlet(inlet)\n",
                "        for lane in self.lanes.values():\n            lane.clear()\n"
                "        for lane in lanes:\n            lane.clear()\n            for inlet in lane.inlets:\n                inlet.agent.close_inlet(inlet)\n",
            ),
        ),
        test=f"{UNIT}/test_revokes.py::test_records_of_a_kept_partition_that_were_fetched_and_not_started_are_done",
        shows=r"not in 5.0 s|assert ",
        slow=True,
    ),
    "added-partitions-are-read": Weakening(
        rule="§6 added",
        lacks="reads a partition that was added to a source with tables",
        costs="keys that moved there are counted from nothing, and their duplicates pass",
        edits=(
            Edit(
                "pipeline.group",
                "        if lane.partition.number < known or not self._tables_of(lane.partition.topic):\n            return False\n",
                "        return False\n",
            ),
        ),
        test=f"{UNIT}/test_added_partitions.py::test_with_a_table_the_old_ones_go_on_and_the_new_one_is_named_and_left_alone",
        shows=r"moved|assert ",
    ),
    "a-revoke-commits-nothing": Weakening(
        rule="§6 revoke",
        lacks="gives partitions back without committing what is done",
        costs="every rebalance aborts a unit, and its records are done again",
        edits=(
            Edit(
                "pipeline.group",
                "        committed = self._commit_now(lanes)\n",
                "        committed: Future[bool] = Future()\n        committed.set_result(True)\n",
            ),
        ),
        test=f"{UNIT}/test_revokes.py::test_what_is_done_on_every_partition_is_committed_before_one_of_them_goes",
        shows=r"== \(1, 2\)",
    ),
    "a-revoked-partition-goes-on": Weakening(
        rule="§6 revoke",
        lacks="starts records of a partition that is being given back",
        costs="the revoke takes as long as the records that wait there, and the group with it",
        edits=(Edit("pipeline.group", '                lane.pause(REVOKED, kind="revoked")\n', "                pass\n"),),
        test=f"{UNIT}/test_revokes.py::test_nothing_is_started_on_a_partition_that_is_given_back",
        shows=r"== \[b'a'\]",
    ),
    "a-loss-is-not-an-abort": Weakening(
        rule="§6 lost",
        lacks="keeps the open unit when a partition of it is lost",
        costs="what is done again elsewhere is committed here as well",
        covered="the check of ownership before send_offsets covers it: both are off",
        edits=(
            Edit(
                "pipeline.group",
                "        if held:\n            # A commit",
                "        if False:\n            # A commit",
            ),
            Edit(
                "pipeline.commit",
                "        if lost:\n"
                '            raise AssignmentLost("no longer ours: " + ", ".join(str(lane) for lane in lost))\n'
                "        for source, metadata in group.items():\n",
                "        for source, metadata in group.items():\n",
            ),
        ),
        test=f"{UNIT}/test_revokes.py::test_a_lost_partition_takes_its_open_unit_down_and_nothing_of_it_is_committed",
        shows=r"not in 5.0 s",
        slow=True,
    ),
    "a-topic-is-recovered-without-its-line": Weakening(
        rule="12",
        lacks="restores a line's tables for one of its topics while the records of another go on",
        costs="the restore writes older values over theirs, and each topic has an overlay of its own",
        edits=(
            Edit(
                "pipeline.group",
                "            whole = dict.fromkeys(other for lane in lanes for other in (lane, *lane.line.lanes))\n",
                "            whole = dict.fromkeys(lanes)\n",
            ),
        ),
        test=f"{UNIT}/test_lines_come_back_whole.py::test_a_topic_that_falls_out_of_its_log_stops_its_whole_line",
        shows=r"it runs beside the restore of its table",
    ),
    "a-seek-of-before-a-recovery-counts": Weakening(
        rule="20",
        lacks="runs a lane by the seek of a rewind, though a recovery has begun since",
        costs="records are worked on while their tables are restored",
        edits=(Edit("pipeline.group", " or lane.returns_by is not way:\n", ":\n"),),
        test=f"{UNIT}/test_lines_come_back_whole.py::test_a_seek_asked_for_before_a_recovery_does_not_run_its_lane",
        shows=r"it runs beside its restore",
    ),
    "committed-offsets-are-read-amid-a-commit": Weakening(
        rule="5",
        lacks="asks for the committed offsets of lanes whose unit is being committed",
        costs="the answer is the one of before: the unit's records are done again",
        edits=(
            Edit(
                "pipeline.group",
                "        while any(self._is_committed_now(lane) for lane in alive()):",
                "        while False:",
            ),
        ),
        test=f"{UNIT}/test_lines_come_back_whole.py::test_a_recovery_waits_for_the_commit_that_moves_its_offset",
        shows=r"committed offsets are asked for while they change",
    ),
    "a-late-revoke-closes-the-new-lane": Weakening(
        rule="20",
        lacks="closes the lanes that a revoked partition has by the time that its commit is answered",
        costs="a partition that came back meanwhile is read by nobody",
        edits=(
            Edit(
                "pipeline.group",
                "            for lane in lanes:  # these, not what their partitions are by now: late, they may be back under new lanes\n",
                "            for lane in [self.lanes[lane.partition] for lane in lanes if lane.partition in self.lanes]:\n",
            ),
        ),
        test=f"{UNIT}/test_revokes.py::test_a_partition_that_comes_back_is_read_though_its_last_revoke_is_answered_only_then",
        shows=r"not in 5.0 s",
        slow=True,
    ),
    "a-dead-lane-ends-its-successors-restore": Weakening(
        rule="20",
        lacks="ends, with a lane that is gone, whatever restore its table partition has by then",
        costs="a partition that came back meanwhile waits for its tables for good",
        edits=(
            Edit(
                "assembly",
                "            task = self._tasks.pop(restore, None)\n",
                "            task = self._tasks.pop(next(iter(self._tasks), restore), None)\n",
            ),
        ),
        test=f"{UNIT}/test_restores_that_are_cut_short.py::test_a_partition_that_comes_back_while_it_is_restored_is_read",
        shows=r"assert False|TookTooLong|not in",
        slow=True,
    ),
    "a-short-share-is-taken": Weakening(
        rule="§6 revoke",
        lacks="takes the share that it is handed, whatever its predecessor had",
        costs="a worker that ends between the joins of a rebalance, and is back at once, leaves partitions without an owner until somebody else joins",
        edits=(
            Edit(
                "kafka.settled_share",
                "        return not self._settled.issubset(share)\n",
                "        return False\n",
            ),
        ),
        test=f"{REBALANCE}/test_back_in_the_middle_of_a_rebalance.py::test_a_worker_killed_while_it_gives_back_and_started_again_at_once",
        shows=r"w1 holds .*, w2 \[\]",
        slow=True,
    ),
}
