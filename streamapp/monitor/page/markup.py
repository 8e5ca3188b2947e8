"""HTML whose text is escaped unless somebody says that it is markup already."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

VOID: Final = frozenset({"br", "circle", "input", "line", "link", "meta", "path"})
"""Elements without an end tag, or with a slash for one."""
_DRAWN: Final = frozenset({"circle", "line", "path"})
IMPLIED: Final = frozenset({"dd", "dt", "li", "option", "tbody", "td", "th", "thead", "tr"})
"""Elements whose end tag HTML lets us leave out, as long as we write nothing between them: a sixth of a wide page."""
_BARE: Final = re.compile(r"[A-Za-z0-9_./#%-]+")
"""Attribute values that need no quotes."""


class Markup(str):
    """Text that is HTML: made by `tag`, by `raw` of the package's own files, and by nothing else."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]
"""A string is text and is escaped; None is nothing."""


def text(*children: Child) -> Markup:
    """Return children as they stand in HTML."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str | int):
            parts.append(html.escape(_printable(str(child)), quote=False))
        else:
            parts.append(text(*child))
    return Markup("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return an element. Attributes: `class_` is class, `data_of` data-of; True stands alone, None and False are left out."""
    told = "".join(_attribute(each, value) for each, value in attributes.items())
    # The blank: a bare value would take the slash for its own.
    start = f"<{name}{told} />" if name in _DRAWN else f"<{name}{told}>"
    if name in VOID:
        return Markup(start)
    return Markup(f"{start}{text(*children)}" if name in IMPLIED else f"{start}{text(*children)}</{name}>")


def raw(own: str) -> Markup:
    """Return a file of this package as it is. Never for what came from outside."""
    return Markup(own)


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    told = str(value)
    return f" {name}={told}" if _BARE.fullmatch(told) else f' {name}="{html.escape(_printable(told))}"'


def _printable(value: str) -> str:
    """Return text that UTF-8 can hold and HTML may hold: a parser drops NUL, and half a surrogate pair cannot be encoded."""
    if value.isprintable():
        return value
    return "".join("\ufffd" if "\ud800" <= each <= "\udfff" or (each < " " and each not in "\t\n\r") else each for each in value)


__all__ = ["Child", "Markup", "raw", "tag", "text"]
