"""Golden files: what was looked at once, and found right. `GOLDEN=write` writes them anew; look at the difference before you commit it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

BLOCKS: Final = re.compile(r"(?=<(?:section|header|h2|h3|div|table|caption|thead|tbody|tr|th|td|dl|dt|p|nav|form|figure|svg|path|line|g|ol|ul|li|aside|details|main|body|label)\b)")  # fmt: skip


def lines_of(html: str) -> str:
    """Return HTML with a line for each element that has a place of its own, so that differences can be read."""
    return BLOCKS.sub("\n", html).strip() + "\n"


def difference(html: str, golden: Path) -> str | None:
    """Return the first line that differs from the golden file; None where there is none."""
    told = lines_of(html)
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told, encoding="utf-8")
    wanted = golden.read_text(encoding="utf-8") if golden.exists() else ""
    if told == wanted:
        return None
    mine, theirs = told.splitlines(), wanted.splitlines()
    at = next((at for at, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), min(len(mine), len(theirs)))
    return f"{golden.name}, line {at + 1}:\n is    {mine[at : at + 1]}\n was   {theirs[at : at + 1]}"


__all__ = ["difference", "lines_of"]
