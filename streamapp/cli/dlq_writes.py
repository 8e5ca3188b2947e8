"""What the verbs that write to dead letters have in common: refusals with their exit codes, who does it, and how fast."""

from __future__ import annotations

import functools
import getpass
import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from streamapp.cli.scope import EXIT_NOTHING, EXIT_REFUSED, EXIT_UNREACHABLE
from streamapp.errors import DeadlinePassed

R = TypeVar("R")
CRASH_AT = "STREAMAPP_TEST_CRASH_AT"

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m|h))?")
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}


class Rate(click.ParamType):
    """`100/s`, `5/m`, or `none`: letters per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        found = _RATE.fullmatch(str(value))
        if value == "none":
            return float("inf")
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value}: must be 100/s, 5/m, 20/h or none", param, ctx)
        return float(found[1]) / _SECONDS[found[2]]


def ends_by_guard(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a guard's refusal, and a selection without a letter, into one line and the exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        guards = importlib.import_module("streamapp.dlq.guards")
        plan = importlib.import_module("streamapp.dlq.plan")
        if CRASH_AT in os.environ:
            # By name, as in a worker: tests tell a job where to die, and nobody else ever loads that.
            importlib.import_module("streamapp.testing.crash").install_from(os.environ)
        try:
            command(*args, **kwargs)
        except guards.GuardRefused as refused:
            click.echo(f"streamapp: refused: {refused}", err=True)
            sys.exit(EXIT_REFUSED)
        except plan.NothingMatched as nothing:
            click.echo(f"streamapp: {nothing}", err=True)
            sys.exit(EXIT_NOTHING)
        except DeadlinePassed as silence:
            click.echo(f"streamapp: {silence}", err=True)
            sys.exit(EXIT_UNREACHABLE)

    return wrapper


def operator() -> str:
    """Return who is at the keyboard."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user without a name


__all__ = ["Rate", "ends_by_guard", "operator"]
