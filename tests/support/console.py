"""The `console` blocks of a page, run as its reader types them, and what they say held against what the page shows.

    $ streamapp dlq list --since 1h      a command; `> ` goes on with it in the next line
    ID   AGE   …                         what it says. `…` stands for anything in a line, alone for any number of lines
    (exit 4)                             last, unless it ends with 0

Blanks count as one, however many. Times and durations are compared by their shape: those of a page are another day's.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.topics import Countdown, TookTooLong

ANYTHING: Final = "…"
COLUMNS: Final = 160
"""Of the terminal: as wide as the pages' widest lines."""

_EXIT: Final = re.compile(r"\(exit (\d+)\)")
_PARTS: Final = re.compile(
    r"\x1b\[(?P<up>\d*)A|\x1b\[(?P<erase>[02]?)K|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|(?P<letter>.)",
    re.DOTALL,
)
"""What a program writes to a terminal: cursor up, erase in the line, what else there is of escapes, or a character."""
_SHAPES: Final = (
    r"(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(?:\.\d+)?Z",  # a time of another day is told with its date
    r"(?:\d+(?:\.\d+)?(?:ms|[dhms])){1,2}",
)
_VOLATILE: Final = re.compile("|".join(rf"\b(?:{shape})\b" for shape in _SHAPES))


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a page, and what the page says of it."""

    command: str
    shown: tuple[str, ...]
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said on a terminal, line by line as it stands there in the end, and how it ended."""

    lines: tuple[str, ...]
    exit_code: int


def steps(body: str) -> list[Step]:
    """Return the commands of a block. Raises ValueError: it does not begin with one."""
    found: list[Step] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], ()))
            continue
        if not found:
            raise ValueError(f"output before the first command: {line}")
        command, shown, code = found[-1].command, found[-1].shown, found[-1].exit_code
        if line.startswith("> ") and not shown:
            found[-1] = Step(f"{command}\n{line[2:]}", shown)
        elif ends := _EXIT.fullmatch(line):
            found[-1] = Step(command, shown, int(ends[1]))
        else:
            found[-1] = Step(command, (*shown, line), code)
    return found


def body_of(done: Iterable[Step]) -> str:
    """Return the block of these steps: `steps` backwards."""
    lines: list[str] = []
    for step in done:
        lines.append("$ " + step.command.replace("\n", "\n> "))
        lines += step.shown
        if step.exit_code:
            lines.append(f"(exit {step.exit_code})")
    return "".join(f"{line}\n" for line in lines)


def difference(step: Step, said: Said) -> str | None:
    """Say where a command did not say or end as the page has it; None where it did."""
    if said.exit_code != step.exit_code:
        return f"$ {step.command}\nended with {said.exit_code}, not {step.exit_code}:\n" + "\n".join(said.lines)
    text = "".join(f"{_single(line)}\n" for line in _trimmed(said.lines))
    wanted = _trimmed(step.shown)
    if re.fullmatch(_pattern(wanted), text):
        return None
    # The page's line with which it goes wrong: those before it can still be read as a beginning.
    good = next(count for count in range(len(wanted), -1, -1) if re.match(_pattern(wanted[:count]), text))
    line = wanted[good] if good < len(wanted) else "(nothing more)"
    return f"$ {step.command}\nthe page goes on with\n  {line}\nbut it said\n" + "\n".join(f"  {each}" for each in said.lines)


def _pattern(lines: Sequence[str]) -> str:
    return "".join(r"(?:[^\n]*\n)*?" if line.strip() == ANYTHING else _line_pattern(_single(line)) + r"\n" for line in lines)


def _line_pattern(line: str) -> str:
    parts: list[str] = []
    for part in line.split(ANYTHING):
        fixed, at = "", 0
        for volatile in _VOLATILE.finditer(part):
            shape = next(each for each in _SHAPES if re.fullmatch(each, volatile[0]))
            fixed, at = fixed + re.escape(part[at : volatile.start()]) + f"(?:{shape})", volatile.end()
        parts.append(fixed + re.escape(part[at:]))
    return r"[^\n]*?".join(parts)


def _single(line: str) -> str:
    return " ".join(line.split())


def _trimmed(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines without empty ones at either end."""
    full = [at for at, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1] if full else ()


class Terminal:
    """Runs commands as someone at a terminal does, in one folder and environment."""

    def __init__(self, folder: Path, env: Mapping[str, str], *, columns: int = COLUMNS, deadline: float = 90.0) -> None:
        self.folder = folder
        self._columns = columns
        self._env = {**env, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(columns), "LINES": "50"}
        self._deadline = deadline

    def run(self, command: str) -> Said:
        """Run it to its end. Raises TookTooLong with what it said so far."""
        leader, follower = pty.openpty()
        try:
            fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._columns, 0, 0))
            process = subprocess.Popen(
                ["bash", "-c", command], cwd=self.folder, env=self._env,
                stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(follower)
        raw = bytearray()
        try:
            self._read(leader, raw)
            return Said(as_it_stands(raw.decode(errors="replace")), process.wait(5))
        except (TookTooLong, subprocess.TimeoutExpired):
            raise TookTooLong(f"$ {command}\ndid not end in {self._deadline:g} s:\n{raw.decode(errors='replace')}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait(10)
            os.close(leader)

    def _read(self, leader: int, raw: bytearray) -> None:
        countdown = Countdown(self._deadline)
        # On Linux the end of a terminal's last process reads as an error.
        with suppress(OSError):
            while True:
                if not select.select([leader], [], [], min(1.0, countdown.left))[0]:
                    if countdown.over:
                        raise TookTooLong
                elif part := os.read(leader, 65_536):
                    raw += part
                else:
                    return


def as_it_stands(text: str) -> tuple[str, ...]:
    """Return the lines that a screen shows in the end: a progress bar is gone, and of a line written over the last state is left."""
    screen: list[list[str]] = [[]]
    row = column = 0
    for part in _PARTS.finditer(text):
        if part["up"] is not None:
            row = max(0, row - int(part["up"] or 1))
        elif part["erase"] is not None:
            del screen[row][0 if part["erase"] == "2" else column :]
        elif part["letter"] == "\n":
            row += 1
            screen += [[] for _ in range(row + 1 - len(screen))]
        elif part["letter"] == "\r":
            column = 0
        elif part["letter"] is not None:
            line = screen[row]
            line += " " * (column + 1 - len(line))
            line[column] = part["letter"]
            column += 1
    lines = ["".join(line).rstrip() for line in screen]
    return tuple(lines if lines[-1] else lines[:-1])
