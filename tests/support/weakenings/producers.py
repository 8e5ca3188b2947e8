"""Without what keeps a transaction whole between one producer and the broker: rules 1, 4, 7 to 11 and 13 to 17."""

from __future__ import annotations

from typing import Final

from tests.support.weakening import Edit, Weakening

RULES: Final = "tests/integration/transactions"
UNIT: Final = "tests/unit/pipeline"

PRODUCERS: Final = {
    "random-transactional-id": Weakening(
        rule="1",
        lacks="takes a new transactional.id at each start",
        costs="a killed worker's transaction stays open, and readers of its outputs stall until it times out",
        edits=(
            Edit(
                "kafka.client_config",
                '    return f"{settings.identity.app_id}-{worker_id}"\n',
                "    return f\"{settings.identity.app_id}-{worker_id}-{__import__('uuid').uuid4()}\"\n",
            ),
        ),
        test=f"{RULES}/test_rule_01_stable_identity.py::test_a_restart_ends_the_dead_predecessors_transaction_and_readers_go_on",
        shows=r"sorted\(\[.*== \[0, 1, 2|assert .* == \[0, 1, 2",
    ),
    "worker-id-not-kept": Weakening(
        rule="1",
        lacks="makes a new worker id at each start where none is given",
        costs="the same as a random transactional.id, and a rebalance at each start",
        edits=(Edit("identity", "        _write_whole(file, made)\n        return made, True\n", "        return made, True\n"),),
        test=f"{RULES}/test_rule_01_stable_identity.py::"
        "test_the_worker_id_is_kept_in_the_data_directory_and_the_directory_is_one_workers",
        shows=r"assert ",
    ),
    "directory-not-locked": Weakening(
        rule="1",
        lacks="does not lock its data directory",
        costs="two live workers share ids and stores, and fence each other",
        edits=(Edit("identity", "        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", ""),),
        test=f"{RULES}/test_rule_01_stable_identity.py::"
        "test_the_worker_id_is_kept_in_the_data_directory_and_the_directory_is_one_workers",
        shows=r"DID NOT RAISE",
    ),
    "rivals-fence-each-other-for-ever": Weakening(
        rule="1",
        lacks="takes its id back however often it is fenced",
        costs="two workers of one id abort each other's work for ever, and nobody is told why",
        edits=(Edit("pipeline.transaction", "RIVAL_WINDOW = 60.0\n", "RIVAL_WINDOW = 0.0\n"),),
        test=f"{UNIT}/test_fences.py::test_the_last_that_a_minute_bears_stops_the_worker_and_names_its_id",
        shows=r"it goes on, and so does its rival",
    ),
    "offsets-before-the-flush": Weakening(
        rule="4",
        lacks="sends offsets before its records are in the log",
        costs="the next owner restores its tables short of what this one wrote: duplicates pass, sums are too small",
        edits=(
            Edit(
                "pipeline.commit",
                '        self._done("produce")\n        self.producer.flush(deadline)\n        self._done("flush")\n',
                '        self._done("produce")\n        self._done("flush")\n',
            ),
        ),
        test=f"{RULES}/test_rule_04_flush_first.py::test_all_that_a_unit_wrote_is_in_the_log_before_its_offsets_leave",
        shows=r"== \{0\}",
    ),
    "commits-past-the-timeout": Weakening(
        rule="7",
        lacks="goes on with a commit far past the transaction timeout",
        costs="the broker aborts first and fences the worker: a new producer and an unknown outcome instead of an abort",
        edits=(Edit("pipeline.transaction", "SAFE_SHARE = 0.7\n", "SAFE_SHARE = 2.5\n"),),
        test=f"{RULES}/test_rule_07_transaction_timeout.py::"
        "test_a_unit_that_cannot_be_committed_is_aborted_before_the_broker_does_it",
        shows=r"fenced",
        slow=True,
    ),
    "the-loop-closes-units": Weakening(
        rule="7",
        lacks="waits for the event loop before it closes a unit",
        costs="a handler that blocks the loop holds its transaction open past its timeout, and all of it is done again",
        edits=(
            Edit(
                "pipeline.transaction",
                "    def _commit(self, unit: UnitOfWork, *, transaction_open: bool) -> bool:\n",
                "    def _commit(self, unit: UnitOfWork, *, transaction_open: bool) -> bool:\n"
                "        import asyncio\n\n"
                "        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._listener._loop).result()\n",
            ),
        ),
        test=f"{RULES}/test_rule_07_transaction_timeout.py::test_a_unit_is_committed_while_a_handler_blocks_the_loop",
        shows=r"committed by nobody while the loop stood",
        slow=True,
    ),
    "a-timeout-ends-the-worker": Weakening(
        rule="7",
        lacks="stops when the broker timed its transaction out",
        costs="a worker that was slow once is down",
        edits=(
            Edit(
                "pipeline.transaction",
                "        if isinstance(cause, ProducerUnusable):\n            self._note_fence(cause, units)\n",
                "        if isinstance(cause, ProducerUnusable):\n            raise Fatal(f'weakened: {cause}')\n",
            ),
            Edit(
                "pipeline.transaction",
                "            except (ProducerUnusable, UnitAborted) as failure:\n                self._note_fence(failure, units)\n",
                "            except (ProducerUnusable, UnitAborted) as failure:\n                raise Fatal(f'weakened: {failure}')\n",
            ),
        ),
        test=f"{RULES}/test_rule_07_transaction_timeout.py::"
        "test_a_producer_that_the_broker_timed_out_is_replaced_under_the_same_id",
        shows=r"Fatal: weakened",
        slow=True,
    ),
    "own-timeouts-count-as-rivals": Weakening(
        rule="7",
        lacks="takes a fence that its own timeout explains for a rival's",
        costs="a worker that was slow twice is down, and is told to look for a rival",
        edits=(
            Edit(
                "pipeline.transaction",
                "        if any(unit.opened_at is not None and now - unit.opened_at >= self._timeout for unit in units):\n"
                "            return\n",
                "",
            ),
        ),
        test=f"{UNIT}/test_fences.py::test_fences_after_the_transaction_timeout_are_our_own_doing",
        shows=r"assert ",
    ),
    "a-flag-less-error-is-an-abort": Weakening(
        rule="8",
        lacks="aborts on an error without any flag and keeps the producer",
        costs="a producer whose state nobody knows goes on",
        edits=(
            Edit(
                "kafka.failures",
                "    else:\n        told = ProducerFenced(text) if fenced else ProducerUnusable(text)\n    told.__cause__ = failure\n",
                "    else:\n        told = CommitRefused(text)\n    told.__cause__ = failure\n",
            ),
        ),
        test=f"{RULES}/test_rule_08_error_flags.py::"
        "test_before_the_commit_flags_decide_between_a_new_producer_an_abort_and_another_try[flush]",
        shows=r"'rebuilds': 0",
        slow=True,
    ),
    "flags-decide-after-the-commit": Weakening(
        rule="8",
        lacks="believes the flags of an error although commit was called",
        costs="a transaction that was committed is taken for aborted, and its records are done again",
        edits=(
            Edit(
                "kafka.producer",
                'raise translated(failure, "commit_transaction", asked=True) from failure\n',
                'raise translated(failure, "commit_transaction") from failure\n',
            ),
        ),
        test=f"{RULES}/test_rule_08_error_flags.py::"
        "test_once_commit_was_called_every_error_but_a_retriable_one_leaves_the_outcome_to_the_broker[the answer was lost]",
        shows=r"assert ",
    ),
    "retriable-errors-end-the-unit": Weakening(
        rule="8",
        lacks="does not call again what may be called again",
        costs="each coordinator that moves costs an abort",
        edits=(
            Edit(
                "kafka.producer",
                "        if not is_retriable(failure) or deadline.passed:\n            return False\n",
                "        return False\n",
            ),
        ),
        test=f"{RULES}/test_rule_08_error_flags.py::"
        "test_before_the_commit_flags_decide_between_a_new_producer_an_abort_and_another_try[flush]",
        shows=r"== \{'aborts': 0",
    ),
    "a-commit-is-not-resumed": Weakening(
        rule="9",
        lacks="gives a commit up when it times out once",
        costs="each slow commit costs a new producer and a restore",
        edits=(
            Edit(
                "kafka.producer",
                "                # A commit that timed out may only be committed again; abort would answer _CONFLICT.\n"
                "                if self._again(failure, deadline):\n",
                "                if False:\n",
            ),
        ),
        test=f"{RULES}/test_rule_09_a_commit_is_resumed_never_aborted.py::test_a_commit_that_ran_out_of_time_is_resumed",
        shows=r"commit_transaction",
    ),
    "a-timed-out-commit-is-aborted": Weakening(
        rule="9",
        lacks="aborts after a commit that did not answer",
        costs="what the broker may have committed is taken for aborted, and is done again",
        edits=(
            Edit(
                "pipeline.transaction",
                "        if isinstance(cause, ProducerUnusable):\n",
                "        if isinstance(cause, ProducerUnusable) and not unknown:\n",
            ),
        ),
        test=f"{RULES}/test_rule_09_a_commit_is_resumed_never_aborted.py::"
        "test_a_commit_that_never_ends_costs_the_producer_and_is_not_aborted",
        shows=r"assert |ValueError",
    ),
    "an-unknown-outcome-is-an-abort": Weakening(
        rule="10",
        lacks="takes a transaction whose answer was lost for aborted",
        costs="what the broker had committed is done again",
        edits=(
            Edit(
                "pipeline.engine",
                "        if unknown or isinstance(cause, StateUnusable):\n",
                "        if isinstance(cause, StateUnusable):\n",
            ),
        ),
        test=f"{RULES}/test_rule_10_unknown_outcomes.py::"
        "test_an_answer_that_is_lost_loses_and_doubles_nothing[the broker had committed]",
        shows=r"doubled",
    ),
    "an-unknown-outcome-is-a-commit": Weakening(
        rule="10",
        lacks="takes a transaction whose answer was lost for committed",
        costs="what the broker had not committed is lost",
        edits=(
            Edit(
                "kafka.producer",
                'raise translated(failure, "commit_transaction", asked=True) from failure\n',
                "self._unanswered, self._in_transaction = True, False\n                return\n",
            ),
        ),
        test=f"{RULES}/test_rule_10_unknown_outcomes.py::"
        "test_an_answer_that_is_lost_loses_and_doubles_nothing[the broker had not]",
        shows=r"lost|assert 0 == 1",
    ),
    "no-restore-after-an-unknown-outcome": Weakening(
        rule="10",
        lacks="reads committed offsets after an unknown outcome, and not the changelogs",
        costs="tables miss what the transaction had written, if it had committed: sums too small, duplicates pass",
        edits=(
            Edit(
                "pipeline.group",
                "        await self._restore_line(first, alive)\n",
                "        if not all((spec.name, first.line.number) in self._tables for spec in self._line_tables(first)):\n"
                "            await self._restore_line(first, alive)\n",
            ),
        ),
        test=f"{RULES}/test_rule_10_unknown_outcomes.py::"
        "test_an_answer_that_is_lost_loses_and_doubles_nothing[the broker had committed]",
        shows=r"due|doubled|==",
    ),
    "late-requests-not-fenced": Weakening(
        rule="11",
        lacks="goes on with its producer after an end that was slow or that no broker answered",
        costs="a late EndTxn ends the next transaction halfway, a late TxnOffsetCommit sets the group back: lost and doubled records",
        edits=(
            Edit(
                "kafka.producer",
                "        return self._transactional and (self._unanswered or self._spent >= SUSPECT_AFTER)\n",
                "        return False\n",
            ),
        ),
        test=f"{RULES}/test_rule_11_suspect_requests.py::"
        "test_after_a_slow_end_the_next_transaction_is_a_new_producers[commit_transaction]",
        shows=r"is not",
    ),
    "unanswered-requests-not-fenced": Weakening(
        rule="11",
        lacks="looks at the time alone, not at whether a broker answered",
        costs="the same, after a lost connection",
        edits=(
            Edit(
                "kafka.producer",
                "            if not is_brokers(failure):\n                self._unanswered = True\n",
                "",
            ),
            Edit("kafka.producer", "SUSPECT_AFTER = 0.4\n", "SUSPECT_AFTER = 30.0\n"),
        ),
        test=f"{RULES}/test_rule_11_suspect_requests.py::"
        "test_after_an_end_that_no_broker_answered_the_next_transaction_is_a_new_producers[commit_transaction]",
        shows=r"is not",
    ),
    "the-loop-begins-on-the-suspect-producer": Weakening(
        rule="11",
        lacks="lets the loop begin the next transaction before the producer is replaced",
        costs="the late request meets exactly the transaction that it must not meet",
        edits=(
            Edit(
                "pipeline.transaction",
                '            self._rebuild("coordinator_trouble")\n        admission.committed(unit)\n'
                "        self._listener.unit_committed(unit, refused)\n",
                "            pass\n        admission.committed(unit)\n"
                "        self._listener.unit_committed(unit, refused)\n"
                "        if producer.suspect:\n"
                '            self._rebuild("coordinator_trouble")\n',
            ),
        ),
        test=f"{RULES}/test_rule_11_suspect_requests.py::test_the_loop_begins_nothing_on_the_suspect_producer_however_busy_it_is",
        shows=r"assert ",
    ),
    "quick-retries": Weakening(
        rule="11",
        lacks="lets librdkafka re-send after its own 100 ms",
        costs="a request is sent twice before the time that rule 11 looks at has passed",
        edits=(Edit("kafka.client_config", "_RETRY_BACKOFF: Final = 0.5\n", "_RETRY_BACKOFF: Final = 0.1\n"),),
        test="tests/unit/kafka/test_client_config.py::test_what_exactly_once_rests_on_is_in_every_client",
        shows=r"retry.backoff.ms|assert ",
    ),
    "joins-before-it-takes-over": Weakening(
        rule="13",
        lacks="subscribes before it has ended its predecessor's transaction",
        costs="the restore waits for a transaction that only the worker itself would end",
        edits=(
            Edit(
                "pipeline.engine",
                "            await self._loop.run_in_executor(None, self._transactions.start)\n            for agent in self._agents:\n",
                "            for agent in self._agents:\n",
            ),
            Edit(
                "pipeline.engine",
                "                self._sources.append(source)\n                source.start()\n        except BaseException:\n",
                "                self._sources.append(source)\n                source.start()\n"
                "            await self._loop.run_in_executor(None, self._transactions.start)\n        except BaseException:\n",
            ),
        ),
        test=f"{RULES}/test_rule_13_init_before_subscribe.py::test_the_producer_takes_over_before_the_consumer_joins",
        shows=r"\['subscribe'\] == \[\]",
    ),
    "init-waits-for-ever": Weakening(
        rule="13",
        lacks="calls init_transactions without an end",
        costs="a start against a silent coordinator cannot be stopped",
        edits=(Edit("kafka.producer", "init_transactions(max(0.1, deadline.slice(2 * SLICE)))", "init_transactions(-1)"),),
        test=f"{RULES}/test_rule_13_init_before_subscribe.py::test_each_call_is_bounded",
        shows=r"0 < -1",
    ),
    "init-is-not-tried-again": Weakening(
        rule="13",
        lacks="gives up the start when the coordinator is not ready yet",
        costs="workers started beside their broker are down",
        edits=(
            Edit(
                "kafka.producer",
                "                if not (is_retriable(failure) or timed_out(failure)):\n",
                "                if True:\n",
            ),
        ),
        test=f"{RULES}/test_rule_13_init_before_subscribe.py::test_it_asks_again_while_the_coordinator_is_not_ready",
        shows=r"COORDINATOR_LOAD_IN_PROGRESS",
    ),
    "system-errors-pass": Weakening(
        rule="14",
        lacks="expects a fatal error as a KafkaException only",
        costs="the SystemError around it ends the transaction thread: the worker is down",
        edits=(
            Edit(
                "kafka.producer",
                "                left = producer.flush(deadline.slice(SLICE))\n            except (KafkaException, SystemError) as failure:\n",
                "                left = producer.flush(deadline.slice(SLICE))\n            except KafkaException as failure:\n",
            ),
        ),
        test=f"{RULES}/test_rule_14_fatal_errors_and_callbacks.py::"
        "test_a_fatal_error_in_flush_costs_the_producer_and_no_record[SystemError]",
        shows=r"SystemError",
    ),
    "callbacks-raise": Weakening(
        rule="14",
        lacks="lets an error in a rebalance callback out",
        costs="librdkafka unassigns behind the engine's back, and the partition stands",
        edits=(
            Edit(
                "kafka.source",
                '            self._callback_failed("assignment", failure)\n',
                "            raise\n",
            ),
        ),
        test=f"{RULES}/test_rule_14_fatal_errors_and_callbacks.py::"
        "test_an_error_in_a_callback_loses_all_partitions_and_no_record[in-assign]",
        shows=r"assert |TookTooLong|Error",
        slow=True,
    ),
    "refused-outputs-not-searched": Weakening(
        rule="15",
        lacks="aborts for an output that the broker refuses, and looks for no record",
        costs="one record that is too large stops all partitions of its worker for ever",
        edits=(
            Edit(
                "pipeline.engine",
                "        if isinstance(cause, DeliveryFailed) and cause.for_good:\n",
                "        if False:\n",
            ),
        ),
        test=f"{UNIT}/test_refused.py::test_all_of_them_are_found_among_their_neighbours",
        shows=r"not in 5.0 s; in/0: (0|None) of 150",
        slow=True,
    ),
    "refused-outputs-not-flushed-alone": Weakening(
        rule="15",
        lacks="flushes the outputs of a sifted unit together",
        costs="the record that is blamed is not the one whose output was refused: the search never ends",
        edits=(
            Edit(
                "pipeline.commit",
                "                    self._produce(outgoing, _unheard, deadline)\n                self.producer.flush(deadline)\n",
                "                    self._produce(outgoing, _unheard, deadline)\n                if savepoint is self.unit.pieces[-1][0]:\n"
                "                    self.producer.flush(deadline)\n",
            ),
        ),
        test=f"{UNIT}/test_refused.py::test_all_of_them_are_found_among_their_neighbours",
        shows=r"not in 5.0 s; in/0: None of 150",
        slow=True,
    ),
    "refused-letters-not-cut": Weakening(
        rule="15",
        lacks="writes a dead letter whole again though it was refused",
        costs="a record whose letter is too large stops its partition",
        edits=(
            Edit(
                "pipeline.process",
                "max_bytes=1 if refused else None",
                "max_bytes=None",
            ),
        ),
        test=f"{UNIT}/test_refused.py::test_a_dead_letter_that_is_refused_is_cut_and_the_record_not_called_more_often",
        shows=r"not in 5.0 s",
        slow=True,
    ),
    "calls-without-an-end": Weakening(
        rule="16",
        lacks="flushes without a time limit",
        costs="a broker that went silent holds the transaction thread for ever, and a stop with it",
        edits=(Edit("kafka.producer", "producer.flush(deadline.slice(SLICE))", "producer.flush(30.0)"),),
        test=f"{RULES}/test_rule_16_every_call_is_bounded.py::test_no_call_may_wait_for_ever",
        shows=r"flush",
    ),
    "send-offsets-is-waited-for": Weakening(
        rule="16",
        lacks="waits for send_offsets for as long as it takes",
        costs="after metadata that named no broker it never returned: the worker stood until somebody killed it",
        edits=(Edit("kafka.producer", "timeout=deadline.left + NEVER_ANSWERED", "timeout=None"),),
        test=f"{RULES}/test_rule_16_every_call_is_bounded.py::test_send_offsets_that_never_returns_costs_a_new_producer_and_no_record",
        shows=r"not caught up|never|TookTooLong",
    ),
    "sockets-wait-a-minute": Weakening(
        rule="16",
        lacks="leaves librdkafka's own socket timeout",
        costs="send_offsets, which has no other end, outlasts the transaction",
        edits=(
            Edit(
                "kafka.client_config",
                '        "socket.timeout.ms": _ms(min(_REQUEST_TIMEOUT, transaction.transaction_timeout / 4)),\n',
                '        "socket.timeout.ms": 60_000,\n',
            ),
        ),
        test="tests/unit/kafka/test_client_config.py::test_the_producers_waits_end_inside_the_transaction[30]",
        shows=r"60000 <= ",
    ),
    "brokers-are-looked-up-anew": Weakening(
        rule="16",
        lacks="leaves librdkafka's metadata.recovery.strategy, rebootstrap",
        costs="send_offsets never returns once all connections were cut",
        edits=(
            Edit(
                "kafka.client_config",
                '        "metadata.recovery.strategy": "none",\n',
                '        "metadata.recovery.strategy": "rebootstrap",\n',
            ),
        ),
        test="tests/unit/kafka/test_client_config.py::test_what_exactly_once_rests_on_is_in_every_client",
        shows=r"rebootstrap|assert ",
    ),
    "a-full-queue-is-a-failure": Weakening(
        rule="16",
        lacks="aborts when the local queue is full",
        costs="a burst of outputs aborts its unit, again and again",
        edits=(
            Edit(
                "kafka.producer",
                "        except BufferError:\n            return False\n",
                '        except BufferError as failure:\n            raise CommitRefused("queue full") from failure\n',
            ),
        ),
        test=f"{RULES}/test_rule_16_every_call_is_bounded.py::test_a_full_queue_now_and_then_costs_nothing",
        shows=r"TookTooLong|assert ",
        slow=True,
    ),
    "a-record-is-sent-in-part": Weakening(
        rule="17",
        lacks="goes on after a produce that failed midway through a record's outputs",
        costs="the first of three outputs is there, the others are not",
        edits=(
            Edit(
                "pipeline.admission",
                "                unit.culprit = savepoint\n            self._fail(failure)\n",
                "                unit.culprit = savepoint\n",
            ),
        ),
        test=f"{RULES}/test_rule_17_produce_fails_midway.py::test_the_second_of_three_outputs_fails_and_all_three_come_once[refused]",
        shows=r"assert 0 == 1",
    ),
    "an-untold-offset-counts": Weakening(
        rule="17",
        lacks="takes a delivery report without an offset for one of offset 0",
        costs="the store's position is wrong: restored from where it never was",
        edits=(
            Edit(
                "kafka.producer",
                "            on_delivery(-1 if offset is None else offset)\n",
                "            on_delivery(offset or 0)\n",
            ),
        ),
        test=f"{RULES}/test_rule_17_produce_fails_midway.py::"
        "test_a_report_without_an_offset_costs_a_longer_restore_and_no_record",
        shows=r"all since the last offset that was told",
    ),
}
