"""Every error that streamapp raises, one branch per recovery: what the runtime does next is the only question its catcher has.

StreamAppError
├── ConfigurationError  refuse to start: exit 2, one line, no traceback
│     SettingInvalid UserModuleFailed ModuleShadowed DataDirLocked TopologyInvalid BrokerUnsupported NotAllowed Unsupported
├── UsageError          the caller did what this place does not allow: raised in user code, fails its record
│     OutsideWorker SavepointEnded TableNotHere
├── RecordError         retry this record, then dead-letter it
│     Permanent KilledWorker Transient DecodeFailed ValidationFailed AgentFailed OutputRejected
├── UnitAborted         abort, drop the overlay, rewind what we own
│     CommitRefused DeliveryFailed AssignmentLost DeadlinePassed
├── ProducerUnusable    new producer, same transactional.id; ask the broker what committed
│     ProducerFenced OutcomeUnknown
├── StateUnusable       wipe this partition's store, restore from its changelog
│     StoreCorrupted StoreForeign ChangelogTruncated
├── ChangelogTooNew     the partition stands and says so, until a version that can read it runs
├── BrokerUnreachable   no broker answered in time: exit 3 at start
└── Fatal               stop, exit 1, leave it to the supervisor
      InvariantBroken RivalWorker
"""

from __future__ import annotations


class StreamAppError(Exception):
    """Something in streamapp failed."""

    def __init__(self, message: str | None = None) -> None:
        # `python -OO` strips docstrings, hence the last resort.
        super().__init__(message or self.__doc__ or type(self).__name__)


class ConfigurationError(StreamAppError):
    """The worker cannot start as configured."""


class SettingInvalid(ConfigurationError):
    """A setting's value is outside what it allows."""


class UserModuleFailed(ConfigurationError):
    """A module of the project could not be imported."""


class ModuleShadowed(ConfigurationError):
    """A module of the project was found outside the project."""


class DataDirLocked(ConfigurationError):
    """Another live worker uses this data directory."""


class TopologyInvalid(ConfigurationError):
    """Topics, tables and agents do not fit together."""


class BrokerUnsupported(ConfigurationError):
    """The broker is older than what exactly-once needs."""


class NotAllowed(ConfigurationError):
    """The broker denies this user a right that the worker needs."""


class Unsupported(ConfigurationError):
    """This part of Faust's surface is refused; the message names the idiom that works."""


class UsageError(StreamAppError):
    """This call is not allowed here."""


class OutsideWorker(UsageError):
    """A table can only be used inside a running worker."""


class SavepointEnded(UsageError):
    """The record that this call belongs to is already done; its context outlived it."""


class TableNotHere(UsageError):
    """The table's partition for this record is not on this worker."""


class RecordError(StreamAppError):
    """Processing one record failed."""


class Permanent(RecordError):
    """Raise this from an agent: the record can never succeed, so it is dead-lettered without another try."""


class KilledWorker(Permanent):
    """The process ended each time it worked on this record alone."""


class Transient(RecordError):
    """Raise this from an agent: a later try may succeed.

    `retry_after`: seconds that the dependency asked to be left alone, or None.
    """

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DecodeFailed(RecordError):
    """The value is not what its topic promises.

    `code` names the kind of failure for the fingerprint (`not-json`, `missing:quantity`).
    """

    def __init__(self, message: str | None = None, *, code: str = "undecodable") -> None:
        super().__init__(message)
        self.code = code


class ValidationFailed(DecodeFailed):
    """The document was read, but a field is missing, mistyped or out of range."""


class AgentFailed(RecordError):
    """The agent raised."""


class OutputRejected(RecordError):
    """An output cannot be serialised, or is larger than its topic takes (`too_large`)."""

    def __init__(self, message: str | None = None, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class UnitAborted(StreamAppError):
    """The open unit of work is dropped and its records are read again."""


class CommitRefused(UnitAborted):
    """The broker refused the transaction; abort it."""


class DeliveryFailed(UnitAborted):
    """An output or changelog record was not delivered.

    `too_large`: it was refused for its size. `for_good`: it would be refused again, for its size or for what is in it.
    `at_once`: the client refused what it was just given; else it was some record before that.
    """

    def __init__(
        self, message: str | None = None, *, too_large: bool = False, for_good: bool = False, at_once: bool = False
    ) -> None:
        super().__init__(message)
        self.too_large = too_large
        self.for_good = for_good or too_large
        self.at_once = at_once


class AssignmentLost(UnitAborted):
    """The unit holds work of a partition that is no longer owned."""


class DeadlinePassed(UnitAborted):
    """The broker did not answer in time."""


class ProducerUnusable(StreamAppError):
    """This producer can only be destroyed; a new one with the same transactional.id takes over.

    `fenced`: the broker said so: it timed the transaction out, or somebody took the transactional.id over.
    """

    def __init__(self, message: str | None = None, *, fenced: bool = False) -> None:
        super().__init__(message)
        self.fenced = fenced


class ProducerFenced(ProducerUnusable):
    """The producer is fenced: its transaction timed out at the broker, or another worker has its id."""

    def __init__(self, message: str | None = None, *, fenced: bool = True) -> None:
        super().__init__(message, fenced=fenced)


class OutcomeUnknown(ProducerUnusable):
    """Commit was called and its outcome is not known; committed offsets and changelog say what became of it."""


class StateUnusable(StreamAppError):
    """A table partition's store cannot be used and is rebuilt from its changelog."""


class StoreCorrupted(StateUnusable):
    """The store does not open or fails a checksum."""


class StoreForeign(StateUnusable):
    """The store belongs to another app, table, partition, changelog or format."""


class ChangelogTruncated(StateUnusable):
    """The stored changelog offset lies outside the changelog."""


class ChangelogTooNew(StreamAppError):
    """The changelog was written in a format that only a newer version can read."""


class BrokerUnreachable(StreamAppError):
    """No broker answered."""


class Fatal(StreamAppError):
    """The worker stops with exit code 1."""


class InvariantBroken(Fatal):
    """The engine's own bookkeeping contradicts itself."""


class RivalWorker(Fatal):
    """Another live worker uses this worker's identity."""
