"""librdkafka's errors as ours: decided by their flags, in the order of DESIGN rule 8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from streamapp.errors import (
    CommitRefused,
    DeliveryFailed,
    NotAllowed,
    OutcomeUnknown,
    ProducerFenced,
    ProducerUnusable,
    StreamAppError,
    UnitAborted,
)
from streamapp.kafka.client_config import option_refused

TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD})
FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}  # librdkafka's names for its own errors
)

NO_RIGHT: Final = frozenset({KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})


@contextmanager
def options_checked() -> Iterator[None]:
    """Around the making of a client: options that the library refuses are the user's to mend. Raises SettingInvalid."""
    try:
        yield
    except (KafkaException, ValueError, TypeError) as refused:
        raise option_refused(refused) from refused


def error_of(failure: BaseException) -> KafkaError | None:
    """Return the KafkaError that an exception of the client carries, or None."""
    if isinstance(failure, KafkaException) and failure.args and isinstance(failure.args[0], KafkaError):
        return failure.args[0]
    cause = failure.__cause__ or failure.__context__
    # A fatal error raised inside a callback surfaces as a SystemError around it.
    return error_of(cause) if isinstance(failure, SystemError) and cause is not None else None


def is_retriable(failure: BaseException) -> bool:
    """Return whether the same call may be made again: its flags say so and nothing worse."""
    error = error_of(failure)
    return error is not None and not error.fatal() and not error.txn_requires_abort() and error.retriable()


def is_brokers(failure: BaseException) -> bool:
    """Return whether the broker answered, though with a refusal: librdkafka's own errors have negative codes."""
    error = error_of(failure)
    return error is not None and error.code() > 0


def refuse_without_right(failure: BaseException | KafkaError, kind: str, name: str, rights: str) -> None:
    """Do nothing unless the broker denies us the `kind` called `name`. Raises NotAllowed: it does; `rights` would mend it."""
    error = failure if isinstance(failure, KafkaError) else error_of(failure)
    if error is not None and error.code() in NO_RIGHT:
        raise NotAllowed(
            f"{kind} {name}: the broker does not let this user have it ({error.name()}); grant the user {rights} on it"
        )


def timed_out(failure: BaseException) -> bool:
    error = error_of(failure)
    return error is not None and error.code() in (KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT)


def translated(failure: BaseException, what: str, *, asked: bool = False) -> StreamAppError:
    """Return our error for what `what` raised.

    `asked`: commit was called, so every error is an unknown outcome, whatever its flags.
    """
    error = error_of(failure)
    text = f"{what}: {error.name() + ': ' + error.str() if error is not None else repr(failure)}"
    fenced = error is not None and error.code() in FENCED
    told: StreamAppError
    if asked:
        told = OutcomeUnknown(text, fenced=fenced)
    elif error is None or error.fatal():
        told = ProducerFenced(text) if fenced else ProducerUnusable(text)
    elif error.txn_requires_abort():
        told = (
            DeliveryFailed(text, too_large=True) if error.code() in TOO_LARGE or _says_too_large(error) else CommitRefused(text)
        )
    elif error.code() in TOO_LARGE:
        told = DeliveryFailed(text, too_large=True)
    elif error.retriable():
        told = UnitAborted(text)
    else:
        told = ProducerFenced(text) if fenced else ProducerUnusable(text)
    told.__cause__ = failure
    return told


def _says_too_large(error: KafkaError) -> bool:
    return "too large" in error.str().lower()
