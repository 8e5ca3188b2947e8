"""Dead letters settled from the page: a form, the command's preview, a confirmation, and the job it starts.

Only where `web_token` is set. Each step brings the form token of its session; the last one brings what the preview showed, signed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from faust import web

from streamapp.monitor.page import forms
from streamapp.monitor.page.letters import FORM_PATH
from streamapp.worker.gate import Gate, page_headers
from streamapp.worker.letter_commands import (
    VERBS,
    Commands,
    FormInvalid,
    args_of,
    arguments,
    executing,
    plan_of,
    shown,
)

READ_ONLY = "This page is read-only: where web_token is set, it settles dead letters, too. Here the commands do: streamapp dlq."
NO_COMMAND = "This worker was not started by a command, so none can be run beside it: use streamapp dlq."
BUSY = "Another command of this page runs: wait for it."
FOREIGN = "That form is not of this session: open the page anew."


class _Form(web.View):
    """What form and job have in common."""

    @property
    def gate(self) -> Gate:
        return cast("Gate", cast("Any", self.web).gate)

    @property
    def commands(self) -> Commands:
        return cast("Commands", cast("Any", self.web).commands)

    def page(self, text: str, status: int = 200) -> web.Response:
        return self.html(text, status=status, headers=page_headers())

    def shut(self, verb: str) -> web.Response | None:
        """Return why nothing can be written here; None where it can."""
        if verb not in VERBS:
            return self.page(forms.refused("Not found", f"There is no {verb}."), 404)
        if not self.gate.is_writable:
            return self.page(forms.refused("Read-only", READ_ONLY), 403)
        if self.commands.prefix is None:
            return self.page(forms.refused("Read-only", NO_COMMAND), 501)
        return None


class LetterForm(_Form):
    """Asks, previews, executes."""

    view_name = "streamapp:letter-form"
    view_path = FORM_PATH + "{verb}"

    async def get(self, request: web.Request, verb: str) -> web.Response:
        return self.shut(verb) or self.page(forms.ask(verb, dict(request.query), self.gate.form_token(request) or ""))

    async def post(self, request: web.Request, verb: str) -> web.Response:
        if (shut := self.shut(verb)) is not None:
            return shut
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        if not self.gate.is_own_form(request, form.get(forms.CSRF)):
            return self.page(forms.refused("Refused", FOREIGN), 403)
        if self.commands.is_busy:
            return self.page(forms.refused("Busy", BUSY), 409)
        try:
            if form.get("step") == "execute":
                return self._execute(request, form)
            return await self._preview(request, verb, form)
        except FormInvalid as wrong:
            return self.page(forms.ask(verb, form, self.gate.form_token(request) or "", str(wrong)), 422)

    async def _preview(self, request: web.Request, verb: str, form: Mapping[str, str]) -> web.Response:
        args = arguments(verb, form, datetime.now(UTC))
        said = await self.commands.preview(args)
        plan, token = plan_of(args, time.time()), self.gate.form_token(request) or ""
        return self.page(forms.preview(verb, shown(args), said.text, said.code, plan, self._signature(token, plan), token))

    def _execute(self, request: web.Request, form: Mapping[str, str]) -> web.Response:
        sessions, plan, token = self.gate.sessions, form.get("plan", ""), self.gate.form_token(request) or ""
        if sessions is None or not sessions.is_signed(token + plan, "plan", form.get("signature", "")):
            return self.page(forms.refused("Refused", FOREIGN), 403)
        job = self.commands.execute(args_of(plan, time.time()))
        return self.text("", status=303, headers={**page_headers(), "Location": f"{forms.JOBS_PATH}{job.number}"})

    def _signature(self, token: str, plan: str) -> str:
        return "" if self.gate.sessions is None else self.gate.sessions.sign(token + plan, "plan")


class LetterJob(_Form):
    """How a job goes."""

    view_name = "streamapp:letter-job"
    view_path = forms.JOBS_PATH + "{number}"

    async def get(self, request: web.Request, number: str) -> web.Response:
        job = self.commands.jobs.get(int(number)) if number.isdecimal() else None
        if job is None:
            return self.page(forms.refused("Not found", "No such job here: a worker knows the last 20 of its own."), 404)
        said = job.said
        command = shown(executing(job.args))
        return self.page(forms.job(job.number, command, None if said is None else said.text, None if said is None else said.code))


__all__ = ["LetterForm", "LetterJob"]
