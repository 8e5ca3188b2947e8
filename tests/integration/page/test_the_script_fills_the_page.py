"""With JavaScript the page fills itself anew from the status document, with what the server would write, and disturbs nobody."""

from __future__ import annotations

import msgspec
import pytest

from streamapp.monitor.status import Bounds, GroupStatus, StatusDocument
from tests.support import status_documents
from tests.support.browser import Browser, Page
from tests.support.page_server import Shop
from tests.support.status_documents import NOW

ROWS = "[...document.querySelectorAll('#partitions-table tbody tr')].filter((row) => row.checkVisibility()).map((row) => row.cells[0].textContent)"
BODIES = """
(page) => Object.fromEntries([...page.querySelectorAll("table, dl, .strip, .whose")].map((part, at) => {
  const copy = (part.tBodies ? part.tBodies[0] : part).cloneNode(true);
  copy.querySelectorAll(".copy, .picture > *").forEach((each) => each.remove());
  copy.querySelectorAll("tr.new").forEach((each) => each.removeAttribute("class"));
  copy.querySelectorAll("tr").forEach((each) => each.removeAttribute("data-key"));
  return [part.id || part.className + at, copy.innerHTML];
}))
"""


def after_two_looks(page: Page) -> None:
    """Wait for a look that began after this was called."""
    looks = page.evaluate("Number(document.body.dataset.looks || 0)")
    page.until(f"Number(document.body.dataset.looks || 0) >= {looks + 2}")


def both(page: Page) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the page has in its tables and figures, and what the server writes there now."""
    mine, theirs = page.evaluate(
        f"(async () => {{ const bodies = {BODIES}; const fresh = await (await fetch('/')).text(); "
        "return [bodies(document), bodies(new DOMParser().parseFromString(fresh, 'text/html'))]; })()"
    )
    return mine, theirs


def changed(document: StatusDocument) -> StatusDocument:
    """Return what the worker knows ten seconds later: rows come, go, change and move."""
    mended = status_documents.partition(6, consumed_rate=333.0, commit_age=1.5)
    new = status_documents.partition(
        11, topic="orders-late", status="STALLED", sentence="orders-late/11 stands <b>here</b>", fix="a & b", lag=5
    )
    rest = [each for each in document.partitions if each.partition not in (6, 7)]
    return msgspec.structs.replace(
        document,
        at=NOW + 10,
        group=GroupStatus(
            group="order-processor", status="STALLED", sentence="2 of 8 partitions stand", partitions=8, workers=3, workers_needed=9, workers_capped=True
        ),
        partitions=(new, *reversed(rest), mended),
        agents=(status_documents.agent("order_processor", processed=1_300_000, busy=0.125, retries={"ValueError": 1}),),
        transactions=status_documents.transactions(outcomes={"committed": 18_300}, open_age=None, overlay_bytes=3 * 1024 * 1024),
        tables=tuple(msgspec.structs.replace(each, state="running", remaining=None) for each in document.tables),
        fingerprints=(*document.fingerprints, status_documents.fingerprint("0" * 12, error_type="<i>New</i>", dead_letters=("orders-priced-1-2",))),
        dead_letters=(),
        findings=document.findings[1:],
        peers=("http://w-2:6066",),
        unreachable=("http://w-3:6066",),
        only_this_worker=False,
    )  # fmt: skip


def test_the_script_fills_the_page_with_what_the_server_would_write(browser: Browser, app: Shop, url: str, soon: None) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        app.shown = changed(app.shown)
        after_two_looks(page)
        mine, theirs = both(page)
        assert len(mine) == 11
        for part in theirs:
            assert (part, mine[part]) == (part, theirs[part])
        assert page.evaluate("document.querySelector('.strip').className") == "strip v-STALLED"
        assert page.evaluate("document.getElementById('at').textContent") == "2026-11-27 12:00:10Z"
        assert page.evaluate(ROWS)[0] == "orders-late/11"
        assert page.complaints() == []


def test_figures_are_the_same_in_both_languages(browser: Browser, app: Shop, url: str, soon: None) -> None:
    """Each figure of a partition, of many sizes, as the script writes it and as the server does."""
    values = [
        0.0,
        0.4,
        0.5,
        0.94,
        0.96,
        1.0,
        9.94,
        9.95,
        9.96,
        10.4,
        59.5,
        60.0,
        61.0,
        99.5,
        999.5,
        3599.5,
        3661.0,
        86_399.5,
        90_061.0,
        1e6,
        123_456_789.5,
    ]
    document = app.shown
    with browser.page() as page:
        page.open(f"{url}/")
        partitions = tuple(
            status_documents.partition(
                at, lag=int(value), age=value, produced_rate=value, consumed_rate=-value, commit_age=value, loss=value, loss_never=False, loss_by="size",
                growth=Bounds(estimate=-value, low=-value - 1, high=value), drain=Bounds(estimate=value, low=value, high=value * 2),
            )
            for at, value in enumerate(values)
        )  # fmt: skip
        tables = tuple(
            msgspec.structs.replace(document.tables[0], partition=at, keys=int(value), bytes=int(value))
            for at, value in enumerate(values)
        )
        agents = tuple(
            status_documents.agent(f"a{at}", p50=value, p95=value / 7, busy=value / 100) for at, value in enumerate(values)
        )
        app.shown = msgspec.structs.replace(document, partitions=partitions, tables=tables, agents=agents)
        after_two_looks(page)
        mine, theirs = both(page)
    for part in ("partitions-table", "tables-table", "agents-table"):
        for own, other in zip(mine[part].split("<tr>"), theirs[part].split("<tr>"), strict=True):
            assert own == other


def test_what_is_open_stays_open(browser: Browser, app: Shop, url: str, soon: None) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        page.click("#fingerprints-table summary")
        page.until("document.querySelector('#fingerprints-table details').open")
        page.click("#fingerprints-table details details summary")
        app.shown = changed(app.shown)
        after_two_looks(page)
        assert page.evaluate("document.querySelector('#fingerprints-table details details').open")
        assert (
            page.evaluate("document.querySelector('#fingerprints-table details details code').textContent")
            == "streamapp dlq show orders/5/901"
        )


@pytest.mark.parametrize("has_clipboard", [True, False], ids=["clipboard", "no-clipboard"])
def test_a_command_is_copied_even_where_a_page_has_no_clipboard(browser: Browser, url: str, has_clipboard: bool) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        if not has_clipboard:
            page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.evaluate("document.addEventListener('copy', () => { window.byHand = getSelection().toString(); })")
        page.click("#partitions-table .copy")
        page.until("document.querySelector('#partitions-table .copy').textContent === 'copied'")
        if not has_clipboard:
            assert page.evaluate("window.byHand") == "streamapp offsets reset --topic orders:6 --to-earliest"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_filter_leaves_what_has_lag(browser: Browser, app: Shop, url: str, soon: None, script: bool) -> None:
    with browser.page(script=script) as page:
        page.open(f"{url}/")
        assert "orders/0" in page.evaluate(ROWS)
        page.click("nav.choice a:last-child")
        page.until("location.search === '?only=lag' && document.readyState === 'complete'")
        assert "orders/0" not in page.evaluate(ROWS)
        assert len(page.evaluate(ROWS)) == 7
        if script:
            app.shown = changed(app.shown)
            after_two_looks(page)
            rows = page.evaluate(ROWS)
            assert "orders-late/11" in rows and not {"orders/6", "orders/0"} & set(rows)


def test_it_says_when_the_worker_is_silent_and_when_it_is_back(browser: Browser, app: Shop, url: str, soon: None) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        told, app.shown = app.shown, None  # type: ignore[assignment]  # a worker that fails
        page.until("document.body.classList.contains('stale')")
        assert page.evaluate("document.getElementById('live').textContent").startswith("no answer for ")
        app.shown = told
        page.until("!document.body.classList.contains('stale')")


def test_pictures_are_taken_anew_from_the_server(browser: Browser, app: Shop, url: str, soon: None) -> None:
    with browser.page() as page:
        page.open(f"{url}/")
        assert page.evaluate("document.querySelector('#chart figcaption b').textContent") != "7"
        document = app.shown
        worst = document.partitions[0]
        app.shown = msgspec.structs.replace(
            document, partitions=(msgspec.structs.replace(worst, history=status_documents.history(7)), *document.partitions[1:])
        )
        page.until("[...document.querySelectorAll('#chart figcaption b')].some((each) => each.textContent === '7')")
