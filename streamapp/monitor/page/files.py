"""The page's style and script: files of this package, written into the page, whose policy names their digests."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from streamapp.monitor.page import agents, configuration, findings, letters, partitions, tables
from streamapp.monitor.page.grid import column_rules
from streamapp.monitor.page.markup import Markup, raw, tag

GRIDS: Final = (
    partitions.GRID,
    letters.TOPICS,
    letters.KINDS,
    agents.GRID,
    tables.GRID,
    findings.GRID,
    configuration.GRID,
)


@cache
def style() -> Markup:
    return raw(_read("page.css") + column_rules(GRIDS))


@cache
def script() -> Markup:
    return raw(_read("page.js"))


def style_tag() -> Markup:
    return tag("style", style())


def script_tag() -> Markup:
    return tag("script", script())


@cache
def policy() -> str:
    """Return the page's Content-Security-Policy: its own script and style by digest, its own worker, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script())}'",
            f"style-src '{_digest(style())}'",
            "img-src data:",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _read(name: str) -> str:
    """Return a file without what is there for its readers: indentation, and lines that only comment."""
    lines = (line.strip() for line in files("streamapp.monitor.page").joinpath(name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


__all__ = ["GRIDS", "policy", "script", "script_tag", "style", "style_tag"]
