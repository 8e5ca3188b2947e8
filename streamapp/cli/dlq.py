"""`streamapp dlq`: dead letters, found and shown, sent again, settled."""

from __future__ import annotations

import click

from streamapp.cli.dlq_discard import discard, take
from streamapp.cli.dlq_replay import import_, replay


@click.group("dlq")
def dlq_group() -> None:
    """Dead letters: find, show, send again, discard. Verbs that write say what they would do, until --execute."""


for verb in (replay, import_, discard, take):
    dlq_group.add_command(verb)

__all__ = ["dlq_group"]
