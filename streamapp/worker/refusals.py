"""How a part of Faust's surface is refused: by name, at the call, with the idiom that works."""

from __future__ import annotations

from typing import Any, NoReturn

from streamapp.errors import Unsupported


def refuse(what: str, instead: str) -> NoReturn:
    """Raise Unsupported: `what` is not offered, `instead` is what to write."""
    raise Unsupported(f"{what} is not supported: {instead}")


class StandIn:
    """Stands where Faust has a part that the engine replaces: asking anything of it says so.

    An AttributeError, so that `hasattr` and `getattr(…, default)` go on working.
    """

    def __init__(self, what: str, instead: str, **values: Any) -> None:
        self.__dict__.update(values, _what=what, _instead=instead)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"app.{self._what}.{name} does not exist in streamapp, whose engine does that work: {self._instead}")

    def __repr__(self) -> str:
        return f"<no {self._what}: {self._instead}>"


__all__ = ["StandIn", "refuse"]
