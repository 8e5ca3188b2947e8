"""`python -m tests.benchmarks.foreign`: install every contender from a registry, and say which are ready, or why not."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from tests.benchmarks.foreign import FOREIGN
from tests.benchmarks.foreign.contender import Missing


def main() -> None:
    console = Console()
    for contender in FOREIGN:
        found = contender.prepare(console)
        if isinstance(found, Missing):
            console.print(f"[red]missing[/red]  {escape(contender.name)}: {escape(found.why)}", soft_wrap=True)
            continue
        versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
        jobs = " and ".join(contender.jobs)
        console.print(
            f"[green]ready[/green]    {escape(contender.name)}: {jobs}, {contender.promise}; {escape(versions)}", soft_wrap=True
        )


if __name__ == "__main__":
    main()
