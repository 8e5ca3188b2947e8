"""The `streamapp` command: one file per verb."""

from __future__ import annotations

import click

from streamapp.cli.app_reset import app_group
from streamapp.cli.broker import broker_group
from streamapp.cli.config import config
from streamapp.cli.dlq import dlq_group
from streamapp.cli.dlq_discard import discard, take
from streamapp.cli.dlq_replay import import_, replay
from streamapp.cli.doctor import doctor
from streamapp.cli.lag import lag
from streamapp.cli.offsets import offsets_group
from streamapp.cli.top import top
from streamapp.cli.topics import topics_group
from streamapp.cli.transactions import transactions_group
from streamapp.cli.verify import verify


@click.group()
def main() -> None:
    """Stream processing over Kafka, exactly once."""


for writes in (replay, import_, discard, take):
    dlq_group.add_command(writes)
main.add_command(app_group)
main.add_command(broker_group)
main.add_command(config)
main.add_command(dlq_group)
main.add_command(doctor)
main.add_command(lag)
main.add_command(offsets_group)
main.add_command(top)
main.add_command(topics_group)
main.add_command(transactions_group)
main.add_command(verify)
