"""The pages on the way to a write: what is meant, what would be done, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamapp.monitor.page.document import whole
from streamapp.monitor.page.kinds import copyable
from streamapp.monitor.page.letters import FORM_PATH
from streamapp.monitor.page.markup import Child, Markup, tag

JOBS_PATH: Final = f"{FORM_PATH}jobs/"
CSRF: Final = "csrf"
REFRESH: Final = 2
"""Seconds after which a running job's page is loaded again."""
EXITS: Final = {
    0: "done",
    1: "some failed or were not confirmed",
    2: "refused: wrong options or settings",
    3: "no broker answered",
    4: "no dead letter matches",
    5: "refused by a guard",
    130: "interrupted",
}


def ask(verb: str, given: Mapping[str, str], token: str, wrong: str | None = None) -> str:
    """Return the form: which dead letters, and what the command wants to know."""
    fields: list[Child] = [
        tag("input", type="hidden", name=CSRF, value=token),
        tag("input", type="hidden", name="step", value="preview"),
        _text("Fingerprint", "fingerprint", given, "one kind of failure"),
        _text("Ids", "ids", given, "topic/partition/offset, with blanks between them; only these"),
        _text("Dead-letter topic", "dlq", given, "empty: every one of the app"),
    ]
    if verb == "discard":
        fields.append(_text("Reason", "reason", given, "why nobody needs them", required=True))
    else:
        fields += [
            _box("latest-per-key", given, "Only the latest of each key; the others are discarded"),
            _box("stale-ok", given, "Also where a later record of the key was processed"),
            _box("to-source", given, "Also where another group reads the topic, and would see them again"),
        ]
    form = tag("form", fields, tag("button", "Preview", class_="go"), method="post", action=f"{FORM_PATH}{verb}")
    about = (
        "Marks them as discarded, and unlocks the keys that wait for them. The records stay until retention."
        if verb == "discard"
        else "Sends them again, to their source, at most 100 a second."
    )
    return _page(
        f"{verb.title()} dead letters",
        tag("p", about, " Nothing is written before you have seen the preview."),
        _note(wrong),
        form,
    )


def preview(verb: str, command: str, said: str, code: int, plan: str, signature: str, token: str) -> str:
    """Return what would be done and, where it may be, the button that does it."""
    confirm = tag(
        "form",
        tag("input", type="hidden", name=CSRF, value=token),
        tag("input", type="hidden", name="step", value="execute"),
        tag("input", type="hidden", name="plan", value=plan),
        tag("input", type="hidden", name="signature", value=signature),
        tag("button", f"{verb.title()} them now", class_="danger" if verb == "discard" else "go"),
        method="post",
        action=f"{FORM_PATH}{verb}",
    )
    return _page(f"{verb.title()}: preview", _command(command), tag("pre", said), confirm if code == 0 else _note(_ended(code)))


def job(number: int, command: str, said: str | None, code: int | None) -> str:
    """Return how a job goes, or how it ended."""
    head = None if code is not None else tag("meta", http_equiv="refresh", content=REFRESH)
    state = "running" if code is None else _ended(code)
    return _page(
        f"Job {number}: {state}", _command(command), tag("pre", said or "…", aria_live="polite"), tag("p", tag("a", "Dead letters", href="/#letters")), head=head
    )  # fmt: skip


def refused(title: str, why: str) -> str:
    return _page(title, _note(why), tag("p", tag("a", "Back to the page", href="/")))


def _ended(code: int) -> str:
    return f"{EXITS.get(code, 'failed')} (exit {code})"


def _command(command: str) -> Markup:
    return tag("p", "The command: ", copyable(command))


def _note(why: str | None) -> Markup | None:
    return None if why is None else tag("p", why, class_="note", role="alert")


def _text(title: str, name: str, given: Mapping[str, str], about: str, *, required: bool = False) -> Markup:
    field = tag(
        "input",
        type="text",
        name=name,
        value=given.get(name, ""),
        required=required,
        maxlength=2000,
        aria_describedby=f"{name}-about",
    )
    return tag("label", title, field, tag("small", about, id=f"{name}-about"))


def _box(name: str, given: Mapping[str, str], about: str) -> Markup:
    return tag("label", tag("input", type="checkbox", name=name, value="1", checked=bool(given.get(name))), f" {about}")


def _page(title: str, *content: Child, head: Child = None) -> str:
    back = tag("p", tag("a", "← The page", href="/#letters"))
    return whole(title, tag("body", tag("main", back, tag("h1", title), content, class_="paper")), head)


__all__ = ["CSRF", "JOBS_PATH", "ask", "job", "preview", "refused"]
