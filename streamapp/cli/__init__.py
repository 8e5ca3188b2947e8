"""The `streamapp` command: one file per verb."""

from __future__ import annotations

import click

from streamapp.cli.broker import broker_group
from streamapp.cli.dlq import dlq_group
from streamapp.cli.dlq_discard import discard, take
from streamapp.cli.dlq_replay import import_, replay
from streamapp.cli.lag import lag
from streamapp.cli.verify import verify


@click.group()
def main() -> None:
    """Stream processing over Kafka, exactly once."""


for writes in (replay, import_, discard, take):
    dlq_group.add_command(writes)
main.add_command(broker_group)
main.add_command(dlq_group)
main.add_command(lag)
main.add_command(verify)
