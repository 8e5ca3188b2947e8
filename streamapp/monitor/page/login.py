"""The form that a worker with a token shows to a browser that has not shown it yet."""

from __future__ import annotations

from typing import Final

from streamapp.monitor.page.document import whole
from streamapp.monitor.page.markup import tag

LOGIN_PATH: Final = "/streamapp/login"


def login_page(after: str, *, failed: bool) -> str:
    """Return the form; it goes on to `after`."""
    form = tag(
        "form",
        tag("input", type="hidden", name="next", value=after),
        # What a password manager files the token under.
        tag("input", type="text", name="user", value="streamapp", autocomplete="username", hidden=True),
        tag(
            "label",
            "Token",
            tag(
                "input",
                type="password",
                name="token",
                required=True,
                autofocus=True,
                autocomplete="current-password",
                aria_describedby="why",
            ),
        ),
        tag("button", "Open", class_="go"),
        method="post",
        action=LOGIN_PATH,
    )
    about = tag("p", "This worker's pages ask for the value of ", tag("kbd", "STREAMAPP_WEB_TOKEN"), ".", id="why")
    wrong = tag("p", "That is not the token.", class_="note", role="alert") if failed else None
    return whole("Token", tag("body", tag("main", tag("h1", "streamapp"), wrong, about, form, class_="paper")))


__all__ = ["LOGIN_PATH", "login_page"]
