"""The worker serves the page at `/` and the status document; with a token nobody sees either without it, and with none nobody writes."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from streamapp.errors import Unsupported
from streamapp.monitor.page.document import render
from streamapp.monitor.page.files import policy
from streamapp.monitor.page.shown import Shown
from streamapp.monitor.status import StatusDocument
from streamapp.worker.gate import local_path
from streamapp.worker.letter_commands import FormInvalid, arguments, executing, own_command, shown
from tests.support.group_rig import until
from tests.support.page_server import Shop, serving, shop

TOKEN = "s3cret-token"
SIGNED = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = {"Accept": "text/html,*/*"}
FINGERPRINT = "51d0a7e2c3f8"

COMMAND = """
import sys
told = sys.argv[1:]
print("PREVIEW, nothing is written; --execute writes." if "--execute" not in told else "done", "<b>", *told)
sys.exit({code})
"""
SLOW = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
pathlib.Path({began!r}).touch()
signal.pause()
"""


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        yield client


async def body_of(answer: Any, status: int = 200) -> str:
    async with answer as told:
        text: str = await told.text()
        assert told.status == status, text[:500]
        return text


# --- the page


async def test_the_page_is_what_is_rendered_of_the_status(client: aiohttp.ClientSession) -> None:
    app = shop()
    async with serving(app) as url:
        assert await body_of(client.get(f"{url}/")) == render(app.shown, Shown())
        assert await body_of(client.get(f"{url}/?only=lag&range=6h&chart=orders/3")) == render(
            app.shown, Shown(only_lag=True, range="6h", chart="orders/3"), app.shown
        )
    assert app.asked == ["30m", "30m", "24h"]


async def test_the_document_is_what_the_app_tells(client: aiohttp.ClientSession) -> None:
    app = shop()
    async with serving(app) as url:
        told = await body_of(client.get(f"{url}/streamapp/status.json"))
        assert msgspec.json.decode(told, type=StatusDocument) == app.shown
        await body_of(client.get(f"{url}/streamapp/status.json?history=24h"))
        assert "30m" in await body_of(client.get(f"{url}/streamapp/status.json?history=week"), 400)
    assert app.asked == [None, "24h"]


async def test_what_is_served_is_neither_kept_nor_framed_nor_guessed(client: aiohttp.ClientSession) -> None:
    async with serving(shop(web_token=TOKEN)) as url:
        signed = ("/", "/streamapp/status.json", "/streamapp/tables", "/streamapp/dead-letters/discard", "/table/")
        for path, headers in (*((path, SIGNED) for path in signed), ("/", {}), ("/", BROWSER), ("/livez", {})):
            async with client.get(url + path, headers=headers) as told:
                assert told.headers["Cache-Control"] == "no-store"
                assert told.headers["X-Content-Type-Options"] == "nosniff"
                assert told.headers["X-Frame-Options"] == "DENY"
                if told.content_type == "text/html":
                    assert told.headers["Content-Security-Policy"] == policy()


async def test_fausts_index_is_under_faust_and_its_own_pages_of_tables_are_not_there(client: aiohttp.ClientSession) -> None:
    async with serving(shop(web_tables_enabled=True, web_router_enabled=True)) as url:
        assert await body_of(client.get(f"{url}/faust/")) == '{"status":"OK"}'
        assert "web_show_values" in await body_of(client.get(f"{url}/table/"), 404)
        await body_of(client.get(f"{url}/router/"), 404)


def test_an_app_cannot_take_the_operators_page() -> None:
    app = shop()
    with pytest.raises(Unsupported, match="operator's page"):

        @app.page("/")
        async def index(self: Any, request: Any) -> Any:
            return self.text("mine")

    @app.page("/mine")
    async def other(self: Any, request: Any) -> Any:
        return self.text("mine")


# --- tables


async def test_tables_are_told_where_values_are_shown_and_values_by_nobody_who_has_none(client: aiohttp.ClientSession) -> None:
    app = shop(web_show_values=True)
    app.Table("totals", default=int, help="what was sold")
    async with serving(app) as url:
        assert await body_of(client.get(f"{url}/table/")) == '[{"name":"totals","help":"what was sold"}]'
        assert await body_of(client.get(f"{url}/table/totals/")) == '{"name":"totals","help":"what was sold"}'
        await body_of(client.get(f"{url}/table/other/"), 404)
        await body_of(client.get(f"{url}/table/totals/ann/"), 503)
        assert "href=/table/" in await body_of(client.get(f"{url}/"))


async def test_a_value_is_told_from_what_this_worker_has(client: aiohttp.ClientSession) -> None:
    for shows in (True, False):
        app = shop(web_show_values=shows)
        app._running = object()  # type: ignore[assignment]
        app.tables = {"totals": {"ann": 3}}  # type: ignore[assignment]
        async with serving(app) as url:
            if shows:
                assert await body_of(client.get(f"{url}/table/totals/ann/")) == "3"
                assert "not found" in await body_of(client.get(f"{url}/table/totals/bob/"), 404)
            else:
                assert "3" not in await body_of(client.get(f"{url}/table/totals/ann/"), 404)


# --- the token


PATHS = (
    "/",
    "/streamapp/status.json",
    "/streamapp/tables",
    "/streamapp/dead-letters",
    "/table/",
    "/faust/",
    "/metrics",
    "/nowhere",
    "/mine",
)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Cookie": f"streamapp-6066={TOKEN}"}]
)
async def test_without_the_token_every_page_and_document_is_401(client: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    app = shop(web_token=TOKEN)

    @app.page("/mine")
    async def mine(self: Any, request: Any) -> Any:
        return self.text("a user's page")

    async with serving(app) as url:
        for path in PATHS:
            async with client.get(url + path, headers=headers) as told:
                assert (path, told.status) == (path, 401)
                assert told.headers["WWW-Authenticate"] == "Bearer"
                assert "order-processor" not in await told.text()
            await body_of(client.post(url + path, headers=headers), 401)
    assert app.asked == []


async def test_probes_are_open_and_a_bearer_sees_everything(client: aiohttp.ClientSession) -> None:
    async with serving(shop(web_token=TOKEN)) as url:
        assert "live" in await body_of(client.get(f"{url}/livez"))
        assert "ready" in await body_of(client.get(f"{url}/readyz"), 503)
        assert "order-processor" in await body_of(client.get(f"{url}/", headers=SIGNED))


async def test_a_browser_logs_in_comes_where_it_wanted_to_go_and_logs_out(client: aiohttp.ClientSession) -> None:
    async with serving(shop(web_token=TOKEN)) as url:
        form = await body_of(client.get(f"{url}/?only=lag", headers=BROWSER), 401)
        assert 'value="/?only=lag"' in form and "type=password" in form
        login = f"{url}/streamapp/login"
        assert "not the token" in await body_of(client.post(login, data={"token": "guess", "next": "/?only=lag"}), 401)
        async with client.post(login, data={"token": TOKEN, "next": "/?only=lag"}, allow_redirects=False) as told:
            assert (told.status, told.headers["Location"]) == (303, "/?only=lag")
            cookie = told.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        assert "Log out" in await body_of(client.get(f"{url}/?only=lag", headers=BROWSER))
        await body_of(client.post(f"{url}/streamapp/logout", allow_redirects=False), 303)
        await body_of(client.get(f"{url}/", headers=BROWSER), 401)


@pytest.mark.parametrize("path", ["//evil.example/", "https://evil.example", "/\\evil.example", "", "/a\nSet-Cookie: x", "/a\\b"])
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert local_path(path) == "/"


def test_a_login_leads_to_a_page_of_the_worker() -> None:
    assert local_path("/?only=lag") == "/?only=lag"


# --- writes


def told_form(page: str) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    fields = re.findall(r"<input type=hidden name=([\w-]+) value=(?:\"([^\"]*)\"|(\S+?))>", page)
    return {name: html.unescape(quoted or bare) for name, quoted, bare in fields}


def writing(tmp_path: Path, code: int = 0) -> Shop:
    """Return an app whose pages may write, by a command that says what it was told."""
    command = tmp_path / "command.py"
    command.write_text(COMMAND.format(code=code))
    app = shop(web_token=TOKEN)
    app.web.commands.prefix = [sys.executable, str(command)]  # type: ignore[attr-defined]
    return app


async def test_without_a_token_the_page_is_read_only(client: aiohttp.ClientSession) -> None:
    async with serving(shop()) as url:
        assert "dead-letters/discard" not in await body_of(client.get(f"{url}/"))
        for verb in ("discard", "replay"):
            path = f"{url}/streamapp/dead-letters/{verb}"
            assert "read-only" in await body_of(client.get(path), 403)
            assert "read-only" in await body_of(client.post(path, data={"fingerprint": FINGERPRINT}), 403)


async def test_a_worker_that_no_command_started_runs_none(client: aiohttp.ClientSession) -> None:
    app = shop(web_token=TOKEN)
    app.web.commands.prefix = None  # type: ignore[attr-defined]
    client.headers.update(SIGNED)
    async with serving(app) as url:
        assert "dead-letters/discard" not in await body_of(client.get(f"{url}/"))
        assert "not started by a command" in await body_of(client.get(f"{url}/streamapp/dead-letters/discard"), 501)


async def test_dead_letters_are_discarded_after_a_preview_and_a_confirmation(
    client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    app = writing(tmp_path)
    client.headers.update(SIGNED)
    async with serving(app) as url:
        path = f"{url}/streamapp/dead-letters/discard"
        assert f"/streamapp/dead-letters/discard?fingerprint={FINGERPRINT}&amp;dlq=orders-dlq" in await body_of(
            client.get(f"{url}/")
        )
        form = await body_of(client.get(f"{path}?fingerprint={FINGERPRINT}&dlq=orders-dlq"))
        assert FINGERPRINT in form
        asked = {**told_form(form), "fingerprint": FINGERPRINT, "dlq": "orders-dlq", "reason": "a test's"}
        preview = await body_of(client.post(path, data=asked))
        assert "PREVIEW, nothing is written" in preview and "&lt;b&gt;" in preview and "<b>" not in preview.split("<pre>")[1]
        assert "--execute" not in preview.split("<pre>")[1].split("writes.")[1]
        async with client.post(path, data=told_form(preview), allow_redirects=False) as told:
            assert told.status == 303
            job = url + told.headers["Location"]
        page = await body_of(client.get(job))
        while "running" in page:
            assert "http-equiv=refresh" in page
            page = await body_of(client.get(job))
        done = page.split("<pre")[1]
        assert f"dlq discard --fingerprint={FINGERPRINT} --dlq=orders-dlq --reason=a test's --until=" in done
        assert "--execute" in done and "done (exit 0)" in page
        again = await body_of(client.post(path, data=told_form(preview)))
        assert "Job 1" in again, "the same confirmation is the same job"


async def test_what_the_commands_guards_refuse_cannot_be_confirmed(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    client.headers.update(SIGNED)
    async with serving(writing(tmp_path, code=5)) as url:
        path = f"{url}/streamapp/dead-letters/replay"
        asked = {**told_form(await body_of(client.get(path))), "ids": "orders/5/901 orders/1/2@agent"}
        preview = await body_of(client.post(path, data=asked))
        assert "refused by a guard (exit 5)" in preview
        assert "plan" not in told_form(preview)


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "of another session"])
async def test_a_form_of_another_site_does_nothing(client: aiohttp.ClientSession, tmp_path: Path, csrf: str | None) -> None:
    app = writing(tmp_path)
    async with serving(app) as url:
        path = f"{url}/streamapp/dead-letters/discard"
        async with client.post(f"{url}/streamapp/login", data={"token": TOKEN, "next": path}) as told:
            assert told.status in (200, 404)
        form = told_form(await body_of(client.get(path)))
        own = form["csrf"]
        if csrf == "of another session":
            csrf = app.web.gate.sessions.form_token("another")  # type: ignore[attr-defined]
        data = {"fingerprint": FINGERPRINT, "reason": "x", "step": "preview"} | ({} if csrf is None else {"csrf": csrf})
        assert "not of this session" in await body_of(client.post(path, data=data), 403)
        for origin in ("http://evil.example", "null"):
            foreign = client.post(path, data={**data, "csrf": own}, headers={"Origin": origin})
            assert "not of this session" in await body_of(foreign, 403)
        assert "PREVIEW" in await body_of(client.post(path, data={**data, "csrf": own}, headers={"Origin": url}))
    assert app.web.commands.jobs == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("change", ["plan", "signature", "args"])
async def test_only_what_a_preview_showed_is_executed(client: aiohttp.ClientSession, tmp_path: Path, change: str) -> None:
    client.headers.update(SIGNED)
    app = writing(tmp_path)
    async with serving(app) as url:
        path = f"{url}/streamapp/dead-letters/discard"
        form = {**told_form(await body_of(client.get(path))), "fingerprint": FINGERPRINT, "reason": "x"}
        confirmed = told_form(await body_of(client.post(path, data=form)))
        if change == "args":
            confirmed["plan"] = confirmed["plan"].replace(FINGERPRINT, "0" * 12)
        else:
            confirmed[change] = ""
        await body_of(client.post(path, data=confirmed), 403)
    assert app.web.commands.jobs == {}  # type: ignore[attr-defined]


async def test_one_command_runs_at_a_time_off_the_loop_and_ends_with_the_worker(
    client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    app = writing(tmp_path)
    slow, began = tmp_path / "slow.py", tmp_path / "began"
    slow.write_text(SLOW.format(began=str(began)))
    commands: Any = app.web.commands  # type: ignore[attr-defined]
    client.headers.update(SIGNED)
    async with serving(app) as url:
        path = f"{url}/streamapp/dead-letters/replay"
        form = {**told_form(await body_of(client.get(path))), "fingerprint": FINGERPRINT}
        commands.prefix = [sys.executable, str(slow)]
        job = commands.execute(["dlq", "replay"])
        await until(began.exists, "the command began")
        assert "Another command" in await body_of(client.post(path, data=form), 409)
        assert "running" in await body_of(client.get(f"{url}/streamapp/dead-letters/jobs/1"))
        await commands.stop()
        assert job.said is not None and job.said.code == 130
    assert not commands.is_busy


async def test_an_unknown_verb_or_job_is_not_found(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    client.headers.update(SIGNED)
    async with serving(writing(tmp_path)) as url:
        for path in ("format", "jobs/1", "jobs/x"):
            await body_of(client.get(f"{url}/streamapp/dead-letters/{path}"), 404)


# --- what a form means


NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def test_a_form_becomes_arguments_up_to_the_moment_of_the_preview() -> None:
    replay = {
        "fingerprint": FINGERPRINT,
        "dlq": "orders-dlq",
        "ids": "orders/1/2  orders/1/3@agent",
        "stale-ok": "1",
        "to-source": "1",
    }
    args = arguments("replay", replay, NOW)
    assert args == [
        "dlq", "replay", f"--fingerprint={FINGERPRINT}", "--dlq=orders-dlq", "--stale-ok", "--to=source", "--until=2026-11-27T12:00:00.000Z",
        "--", "orders/1/2", "orders/1/3@agent",
    ]  # fmt: skip
    assert executing(args)[7:9] == ["--execute", "--"]
    assert shown(["dlq", "discard", "--reason=it's late"]) == "streamapp dlq discard '--reason=it'\\''s late'"


@pytest.mark.parametrize(
    ("verb", "form", "wrong"),
    [
        ("replay", {}, "which ones"),
        ("replay", {"fingerprint": "--all"}, "fingerprint"),
        ("replay", {"ids": "--all"}, "id"),
        ("replay", {"ids": "orders/1/2;x"}, None),
        ("replay", {"ids": "orders/1"}, "id"),
        ("replay", {"fingerprint": FINGERPRINT, "dlq": "a b"}, "topic"),
        ("discard", {"fingerprint": FINGERPRINT}, "reason"),
        ("discard", {"fingerprint": FINGERPRINT, "reason": "x" * 501}, "reason"),
        ("discard", {"fingerprint": FINGERPRINT, "reason": "\x00"}, "reason"),
    ],
)
def test_a_form_that_means_nothing_is_refused(verb: str, form: dict[str, str], wrong: str | None) -> None:
    with pytest.raises(FormInvalid, match=wrong):
        arguments(verb, form, NOW)


@pytest.mark.parametrize(
    ("argv", "prefix"),
    [
        (["python", "/bin/faust", "-A", "shop", "worker", "-l", "info"], ["PY", "/bin/faust", "-A", "shop"]),
        (["python", "-m", "faust", "-A", "worker", "worker"], ["PY", "-m", "faust", "-A", "worker"]),
        (["python", "app.py", "worker"], ["PY", "app.py"]),
        (["python", "-m", "pytest"], None),
        (["python", "worker"], None),
    ],
)
def test_a_workers_commands_are_those_behind_what_it_was_started_with(argv: list[str], prefix: list[str] | None) -> None:
    assert own_command(argv, "PY") == prefix
