"""What the broker answers when it refuses a request, by Kafka's names."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Kafka's error codes, those that matter to a transaction or a member."""

    INVALID_PRODUCER_EPOCH = "INVALID_PRODUCER_EPOCH"
    INVALID_TXN_STATE = "INVALID_TXN_STATE"
    CONCURRENT_TRANSACTIONS = "CONCURRENT_TRANSACTIONS"
    """The markers of the last transaction are not all written: the same request, a moment later."""
    UNKNOWN_MEMBER_ID = "UNKNOWN_MEMBER_ID"
    ILLEGAL_GENERATION = "ILLEGAL_GENERATION"
    FENCED_INSTANCE_ID = "FENCED_INSTANCE_ID"
    UNSTABLE_OFFSET_COMMIT = "UNSTABLE_OFFSET_COMMIT"
    """An open transaction holds an offset of the partition."""
    UNKNOWN_TOPIC_OR_PART = "UNKNOWN_TOPIC_OR_PART"
    MSG_SIZE_TOO_LARGE = "MSG_SIZE_TOO_LARGE"


class Refused(Exception):
    """The broker refused a request."""

    def __init__(self, code: Code, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else str(code))
        self.code = code
