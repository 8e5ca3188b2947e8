"""The documents at the root and in docs/, as tests read them: their code, fenced and inline, and their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/external-writes.md",
    "docs/dead-letters.md",
    "docs/operations.md",
)

_FENCE = re.compile(r"^```(?P<language>\w*)(?: (?P<name>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"``(.+?)``|`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `name`: the word behind its language, a file that the reader makes of it, or what tests call it."""

    language: str
    name: str | None
    body: str


@cache
def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def section(document: str, title: str) -> str:
    """Return what stands under the heading `## title`."""
    text = text_of(document)
    assert f"\n## {title}\n" in text, f"{document} has no section {title}"
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def blocks(text: str) -> list[Block]:
    return [Block(found["language"], found["name"], found["body"]) for found in _FENCE.finditer(text)]


def named_block(document: str, name: str) -> str:
    (found,) = (block.body for block in blocks(text_of(document)) if block.name == name)
    return found


def spans(document: str) -> list[str]:
    """Return the inline code."""
    return [first or second for first, second in _SPAN.findall(_FENCE.sub("", text_of(document)))]


def code(document: str) -> Iterator[str]:
    """Yield every line that a reader may type: inline code, and the lines of blocks for the shell."""
    yield from spans(document)
    for block in blocks(text_of(document)):
        if block.language == "sh":
            yield from block.body.splitlines()


def links(document: str) -> list[str]:
    return [found["target"] for found in _LINK.finditer(_FENCE.sub("", text_of(document)))]


def headings(document: str) -> set[str]:
    """Return the anchors of the headings, as they are made of them: lower case, hyphens for spaces."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(document)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
