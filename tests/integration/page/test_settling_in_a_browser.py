"""A browser shows the token once, and settles dead letters by form, preview and confirmation, on a phone."""

from __future__ import annotations

from tests.support.browser import OVERFLOW, Browser
from tests.support.page_server import served, shop

PHONE = 360


def test_a_browser_logs_in_and_sees_the_preview_of_a_discard(browser: Browser) -> None:
    app = shop(web_token="s3cret")
    app.web.commands.prefix = ["echo", "PREVIEW of"]  # type: ignore[attr-defined]
    with served(app) as url, browser.page(width=PHONE) as page:
        page.open(f"{url}/")
        page.screenshot("login-360-light")
        page.type("input[name=token]", "s3cret")
        page.click("button")
        page.until("document.querySelector('.actions a') !== null")
        page.evaluate("document.querySelector('.actions a:last-child').click()")
        page.until("document.querySelector('input[name=reason]') !== null")
        page.type("input[name=reason]", "a test's")
        page.click("button")
        page.until("document.querySelector('pre') !== null")
        page.screenshot("preview-360-light")
        assert "PREVIEW of dlq discard --fingerprint=51d0a7e2c3f8 --dlq=orders-dlq --reason=a test's" in page.evaluate(
            "document.querySelector('pre').textContent"
        )
        assert page.evaluate(OVERFLOW) == 0
        page.click("button.danger")
        page.until("document.querySelector('h1').textContent === 'Job 1: done (exit 0)'")
        assert "--execute" in page.evaluate("document.querySelector('pre').textContent")
        assert page.evaluate("document.cookie") == "", "no script can read the session"
        unwanted = [each for each in page.complaints() if "401" not in each]
        assert unwanted == []
