"""The effective settings with their origin, and what is recommended beside them. Secrets are masked."""

from __future__ import annotations

from streamapp.monitor.status import ConfigRow
from streamapp.settings import Options, Settings, values
from streamapp.settings.advice import advice


def config_rows(settings: Settings) -> tuple[ConfigRow, ...]:
    """Return a row for each setting, in the order of the rooms."""
    told = advice(settings)
    return tuple(
        ConfigRow(
            name=name,
            value=_shown(value),
            origin=settings.origin.get(name, "default"),
            recommendation=told.get(name),
        )
        for name, value in values(settings).items()
    )


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Options):
        return ",".join(f"{name}={option}" for name, option in value.masked().items())
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    return str(value)  # a Secret shows itself as ***


__all__ = ["config_rows"]
