"""`streamapp.app`: the app of the project around the working directory, made once."""

from __future__ import annotations

import threading
from pathlib import Path

from streamapp.application import StreamApp
from streamapp.project import find_project
from streamapp.worker.lifecycle import say_refusals_in_one_line

_lock = threading.Lock()
_made: list[StreamApp] = []


def project_app() -> StreamApp:
    """Return the project's app. Raises ConfigurationError: there is no project here.

    Its modules are imported when a command or worker needs them (`load_modules`), not here: a module that begins with
    `from streamapp import app` would else meet itself half imported.
    """
    with _lock:
        if not _made:
            say_refusals_in_one_line()
            _made.append(StreamApp(project=find_project(Path.cwd())))
        return _made[0]


__all__ = ["project_app"]
