"""The whole page: nine panels, in the order in which an operator needs them."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page import (
    agents,
    configuration,
    findings,
    history,
    letters,
    partitions,
    tables,
    transactions,
    verdict,
)
from streamapp.monitor.page.files import script_tag, style_tag
from streamapp.monitor.page.markup import Child, Markup, tag
from streamapp.monitor.page.shown import Shown, Source
from streamapp.monitor.status import SCHEMA, STATUS_PATH, StatusDocument

RELOAD: Final = 15
"""Seconds after which a browser without JavaScript loads the page again."""
LOGOUT_PATH: Final = "/streamapp/logout"

PANELS: Final = (
    ("verdict", "Verdict"),
    ("partitions", "Partitions"),
    ("history", "Lag"),
    ("letters", "Dead letters"),
    ("agents", "Agents"),
    ("transactions", "Transactions"),
    ("tables", "Tables"),
    ("doctor", "Doctor"),
    ("config", "Configuration"),
)
"""Their ids and what the navigation calls them."""


def render(document: StatusDocument, shown: Shown, long: StatusDocument | None = None) -> str:
    """Return the page. `long`: the document with the longer history, where `shown.range` needs it."""
    source = Source.of(document, long)
    main = [
        verdict.panel(source),
        partitions.panel(source, shown),
        history.panel(source, shown),
        letters.panel(source, shown),
        agents.panel(source),
        transactions.panel(source),
        tables.panel(source, shown),
        findings.panel(source),
        configuration.panel(source),
    ]
    reload = tag("noscript", tag("meta", http_equiv="refresh", content=RELOAD))
    body = tag(
        "body",
        tag("a", "Skip to the verdict", href="#verdict", class_="skip"),
        _header(document, shown),
        tag("main", main),
        tag(
            "footer", tag("p", "The same as JSON: ", tag("a", STATUS_PATH, href=STATUS_PATH), f" (schema {SCHEMA}), for scripts.")
        ),
        script_tag(),
        data_status=STATUS_PATH,
        data_schema=SCHEMA,
        data_poll=f"{shown.poll:g}",
        data_writes=shown.may_write,
    )
    return whole(f"{document.app_id} · {document.worker.worker}", body, reload)


def whole(title: str, body: Markup, *head: Child) -> str:
    """Return an HTML document."""
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", f"{title} · streamapp"),
            tag("link", rel="icon", href="data:,"),
            style_tag(),
            head,
        ),
        body,
        lang="en",
    )


def _header(document: StatusDocument, shown: Shown) -> Markup:
    links = [tag("a", title, href=f"#{name}") for name, title in PANELS]
    logout = tag("form", tag("button", "Log out"), method="post", action=LOGOUT_PATH) if shown.has_login else None
    return tag(
        "header",
        tag(
            "div",
            tag("h1", document.app_id, " ", tag("span", document.worker.worker)),
            tag(
                "p",
                tag("span", "reloads every 15 s", id="live"),
                " ",
                tag("a", "Reload", href=shown.address()),
                logout,
                class_="reload",
            ),
            class_="top",
        ),
        tag("nav", links, aria_label="Panels"),
        class_="bar",
    )


__all__ = ["LOGOUT_PATH", "PANELS", "render", "whole"]
