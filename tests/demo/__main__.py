"""`python -m tests.demo`: a real Kafka, two real workers, 20 000 orders, a SIGKILL in the middle, dead letters mended, and the check.

Exit code 0 only if the contract held. KEEP=1 leaves everything running; Ctrl-C cleans up.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from rich.text import Text

from streamapp.broker import Broker, BrokerConfig, BrokerError, Profile
from tests.demo import mending
from tests.demo.scenario import APP, KILL_SKU, Kill, Scenario
from tests.demo.screen import Bars, Screen
from tests.support.topics import TookTooLong
from tests.support.workers import WORKER

ORDERS = 20_000
RATE = 2_000.0
"""Orders fed a second: slow enough to be watched, and for the kill to come in the middle."""
ANOTHER_ORDER = '{"order_id": "one-more", "customer": "ann", "sku": "pen", "quantity": 2, "unit_price_cents": 150}'


def main(command: Sequence[str] = WORKER, orders: int = ORDERS) -> int:
    """Run the demo and return the exit code."""
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    screen = Screen()
    home = Path(tempfile.mkdtemp(prefix="streamapp-demo-"))
    # A SIGTERM ends like a Ctrl-C: through the same cleaning up.
    signal.signal(signal.SIGTERM, _interrupt)
    code, scenario = 1, None
    screen.step("Start Apache Kafka on a free port (the first time, its jars are fetched)")
    broker = Broker(BrokerConfig(data_dir=home / "broker", port=0, profile=Profile.TEST), die_with_parent=not keep)
    try:
        broker.start()
        screen.fact(f"Kafka listens on {broker.address}, data in {broker.data_dir}")
        scenario = Scenario(broker.address, home / "workers", orders=orders, rate=RATE, keep=keep, command=command)
        code = _play(scenario, screen, keep=keep)
    except KeyboardInterrupt:
        screen.console.print("[yellow]interrupted; cleaning up[/]")
        code = 130
    except (TookTooLong, AssertionError, BrokerError) as error:
        screen.console.print(Text(f"the demo failed: {error}", style="red"))
    finally:
        _end(screen, broker, scenario, home, keep=keep and code != 130)
    return code


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _play(scenario: Scenario, screen: Screen, *, keep: bool) -> int:
    screen.step("Start two workers: faust -A streamapp worker")
    scenario.start_workers()
    for name in ("w1", "w2"):
        screen.fact(f"{name}: pid {scenario.workers[name].pid}, partitions of orders {scenario.lanes_of(name)}")
    screen.step(f"Feed {scenario.orders + 1:,} orders: 3 % sent again, 1 % poison of every class")
    scenario.feed()
    with screen.watch(scenario.orders + 1) as bars:
        _draw(scenario, bars, _until_half(scenario))
        screen.step(f"Kill w2 with SIGKILL: an order of sku {KILL_SKU} does it, in the middle of a transaction")
        kill = _kill(scenario, screen, bars)
        screen.step("Start w2 again, with the same id and without the trap")
        _draw(scenario, bars, scenario.restart())
        took = f"{kill.recovery:.1f} s" if kill.recovery is not None else "an unknown time"
        screen.fact(f"next commit on its partitions after {took}")
        _draw(scenario, bars, scenario.finish())
        bars.show(scenario.feeder.delivered, scenario.processed() or bars.done)
    mending.play(screen, scenario.bootstrap, APP)
    if not keep:
        screen.step("Stop both workers with SIGTERM")
        scenario.stop_workers()
    screen.step("Check what is in the topics")
    verdict = scenario.check()
    screen.summary(scenario.facts)
    screen.verdict(verdict)
    clean = all(code == 0 for code in scenario.facts.exit_codes.values())
    if not clean:
        screen.console.print(f"[red]a worker did not stop cleanly: {scenario.facts.exit_codes}[/]")
    if not kill.stuck:
        screen.console.print("[red]the kill hit no open transaction, so this run proves less than it should: run it again[/]")
    return 0 if verdict.ok and clean and kill.stuck else 1


def _kill(scenario: Scenario, screen: Screen, bars: Bars) -> Kill:
    """Kill w2; once more if that hit no open transaction and there is still something to feed."""
    while True:
        _draw(scenario, bars, scenario.kill_in_the_middle())
        kill = scenario.facts.kill
        assert kill is not None
        _tell_kill(screen, kill)
        if kill.stuck or scenario.feeder.done:
            return kill
        screen.fact("once more, then")
        _draw(scenario, bars, scenario.restart(trapped=True))


def _until_half(scenario: Scenario) -> Iterator[None]:
    while not scenario.feeder.done and scenario.feeder.delivered < scenario.orders // 2:
        yield


def _draw(scenario: Scenario, bars: Bars, steps: Iterator[None]) -> None:
    """Draw while `steps` go on. While a transaction that holds offsets hangs, they are not told: the bar stands."""
    done = bars.done
    for _ in steps:
        done = scenario.processed() or done
        bars.show(scenario.feeder.delivered, done)
        time.sleep(0.05)


def _tell_kill(screen: Screen, kill: Kill) -> None:
    screen.fact(f"w2 died on order {kill.order_id!r} at {kill.place}")
    if not kill.stuck:
        screen.fact("[yellow]no transaction of it was found open on orders-priced[/]")
        return
    for (topic, number), (stable, high) in sorted(kill.stuck.items()):
        screen.fact(f"its open transaction: {topic}/{number} is stable up to {stable}, written up to {high}")
    shown = ", ".join(kill.hidden[:2])
    screen.fact(
        f"{len(kill.hidden)} priced orders wait in or behind it, seen by no read_committed reader: {shown}{', …' if len(kill.hidden) > 2 else ''}"
    )


def _end(screen: Screen, broker: Broker, scenario: Scenario | None, home: Path, *, keep: bool) -> None:
    if keep and scenario is not None:
        scenario.let_go()
        _tell_how_to_look(screen, broker, scenario, home)
        broker.detach()
        return
    if scenario is not None:
        scenario.close()
    broker.stop()
    shutil.rmtree(home, ignore_errors=True)
    screen.fact("everything stopped and removed")


def _tell_how_to_look(screen: Screen, broker: Broker, scenario: Scenario, home: Path) -> None:
    alive = scenario.workers.alive
    lines = [f"Still running (KEEP=1): Kafka on {broker.address}"]
    lines += [f"  {worker.id}: pid {worker.pid}, http://127.0.0.1:{worker.web_port}/readyz, log {worker.log}" for worker in alive]
    look = [
        f"export STREAMAPP_BROKER={broker.address}",
        f".venv/bin/streamapp broker status --data-dir {broker.data_dir}",
        f".venv/bin/faust -A streamapp send -k ann orders '{ANOTHER_ORDER}'",
        *(f"tail -f {worker.log}" for worker in alive[:1]),
    ]
    stop = [
        *([f"kill {' '.join(str(worker.pid) for worker in alive)}"] if alive else []),
        f".venv/bin/streamapp broker stop --data-dir {broker.data_dir}",
        f"rm -r {home}",
    ]
    text = "\n".join([*lines, "Look around:", *(f"  {line}" for line in look), "Stop it:", *(f"  {line}" for line in stop)])
    # No wrapping: these lines are there to be copied.
    screen.console.print(Text(text), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
