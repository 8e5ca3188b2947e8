"""Looks at an app from outside, and sets it back: under the locks of its directories here, and only while its group is empty."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from streamapp.clock import Deadline
from streamapp.errors import DataDirLocked, TopologyInvalid
from streamapp.identity import APP_ID_FILE, DataDir
from streamapp.kafka.groups import GroupNotEmpty, delete_group
from streamapp.kafka.inspector import Inspector
from streamapp.records import Partition
from streamapp.settings import IdentitySettings
from streamapp.upkeep.app_reset import Condition, Kind, Removal, internal_topics
from streamapp.upkeep.group_desk import require_empty
from streamapp.upkeep.refusals import Refused
from streamapp.upkeep.subject import Subject
from streamapp.upkeep.topic_desk import admin_of

TABLES: Final = "tables"
"""In a data directory."""


def data_directories(identity: IdentitySettings) -> list[Path]:
    """Return the app's data directories of this machine: the one that is set, else all that are where the default is."""
    folders = [identity.directory] if identity.data_dir is not None else sorted(identity.directory.parent.glob("*"))
    return [folder for folder in folders if (folder / APP_ID_FILE).is_file()]


def look(subject: Subject, timeout: float) -> Condition:
    """Return how the app stands. Raises BrokerUnreachable."""
    inspector = Inspector(subject.settings, timeout, name="reset")
    try:
        layout = inspector.layout()
        names = {*subject.roles, *subject.dead_letters, *internal_topics(subject), subject.status_topic}
        partitions = {name: layout.partitions(name) for name in names if layout.partitions(name)}
        ends = {where: inspector.ends(where) for many in partitions.values() for where in many}
        sources = [where for name in subject.sources for where in partitions.get(name, ())]
        committed = inspector.committed(sources)
        undecided: dict[Partition, int] = {where: 0 for where in sources if where not in committed}
        return Condition(
            counts={name: len(many) for name, many in partitions.items()},
            starts={where: ends[where][0] for where in sources},
            ends={where: end for where, (_, _, end) in ends.items() if where.topic not in subject.sources},
            committed={where: offset for where, offset in committed.items() if offset is not None} | undecided,
            stores=[folder / TABLES for folder in data_directories(subject.settings.identity) if (folder / TABLES).is_dir()],
        )
    finally:
        inspector.close()


@contextmanager
def alone(subject: Subject, timeout: float) -> Iterator[None]:
    """Hold the app's directories of this machine, with its group empty. Raises Refused: a worker runs. Raises BrokerUnreachable."""
    identity = subject.settings.identity
    with ExitStack() as held:
        for folder in data_directories(identity):
            try:
                # With a worker id: none is made and kept there.
                whose = IdentitySettings(app_id=identity.app_id, data_dir=folder, worker_id="reset")
                held.enter_context(DataDir.open(whose))
            except DataDirLocked as locked:
                raise Refused(f"{locked}: stop it") from locked
        require_empty(subject.settings, timeout)
        yield


def carry_out(subject: Subject, going: Sequence[Removal], timeout: float) -> dict[str, str]:
    """Remove them in order; return name -> why it was not. Raises Refused: a worker has joined. Raises BrokerUnreachable."""
    admin = admin_of(subject.settings)
    failed: dict[str, str] = {}
    for each in going:
        try:
            if each.kind is Kind.STORE:
                shutil.rmtree(each.name)
            elif each.kind is Kind.OFFSETS:
                delete_group(subject.settings, timeout)
            else:
                admin.delete(each.name, Deadline.after(timeout))
        except GroupNotEmpty as joined:
            raise Refused(f"{joined}: a worker has joined; stop it, and run this again") from joined
        except (OSError, TopologyInvalid) as refused:
            failed[each.name] = str(refused)
    return failed


__all__ = ["alone", "carry_out", "data_directories", "look"]
