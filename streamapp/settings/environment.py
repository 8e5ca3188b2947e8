"""Where values come from: flag over environment over pyproject.toml over code over default. The only reader of the environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from streamapp.errors import SettingInvalid
from streamapp.settings.fields import PREFIX, ValueRefused, read_secret, reader_of, shown, text_of, variable
from streamapp.settings.names import ALIASES, FAUST_VARIABLES, REFUSED, RESERVED_PREFIXES, WITHOUT_EFFECT
from streamapp.settings.rooms import BreakerSettings, GroupSettings, RetrySettings, TransactionSettings
from streamapp.settings.whole import ROOMS, Settings, retry_limit

SECRETS: Final = ("sasl_password", "ssl_key_password", "web_token")
PROJECT_KEYS: Final = frozenset({"modules"})
"""Keys of `[tool.streamapp]` that say what the project is, not how it runs."""
_SECRET_FILE_BYTES: Final = 65_536
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Origin(StrEnum):
    """Where a value came from."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    PYPROJECT = "pyproject.toml"
    CODE = "code"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class _Given:
    """One value as its source gave it, read into its type where that was possible."""

    name: str
    written: str
    """The name in its source: the setting's, an alias, or its `_file` form."""
    value: object
    origin: Origin


@cache
def _readers() -> Mapping[str, Callable[[object], object]]:
    return {field.name: reader_of(room, field) for room in ROOMS.values() for field in fields(room)}


def names() -> tuple[str, ...]:
    """Return every setting's name, in the order of the rooms."""
    return tuple(_readers())


def handles(name: str) -> bool:
    """Return whether `load` takes `name` from code: a setting, an alias, a `_file` form, or a name that it ignores or refuses."""
    return _setting_of(name) is not None or name in WITHOUT_EFFECT or name in REFUSED


def values(settings: Settings) -> dict[str, object]:
    """Return setting -> value, secrets still masked."""
    return {field.name: getattr(getattr(settings, room), field.name) for room, kind in ROOMS.items() for field in fields(kind)}


def process_environment() -> dict[str, str]:
    """Return this process's environment as it is now, for `load`."""
    return dict(os.environ)


def load(
    code: Mapping[str, object],
    pyproject: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    flags: Mapping[str, object] = _NOTHING,
) -> Settings:
    """Return the settings that the four sources and the defaults give.

    `pyproject` is the table `[tool.streamapp]`; of `environ` only `STREAMAPP_…` is read. A None in `flags` or `code` counts as
    not given. Raises SettingInvalid: a value out of its range, an unknown key in file or code, two names of one setting that
    disagree. An unknown variable is a notice only: Kubernetes injects such names for a service called streamapp.
    """
    notices: list[str] = []
    given: dict[str, _Given] = {}
    # Weakest first: each source overwrites those before it.
    for origin, source in (
        (Origin.CODE, _named(code, Origin.CODE, notices)),
        (Origin.PYPROJECT, _named(pyproject, Origin.PYPROJECT, notices)),
        (Origin.ENVIRONMENT, _variables(environ, notices)),
        (Origin.FLAG, _named(flags, Origin.FLAG, notices)),
    ):
        given |= _one_per_setting(source, origin)
    if "app_id" not in given:
        raise SettingInvalid(f"{variable('app_id')} is not set: name the app there, in [tool.streamapp] app_id, or in code")
    notices += _faust_variables(environ)
    try:
        return _build(given, notices)
    except ValueRefused as error:
        raise SettingInvalid(f"{error}{_whence(given.get(error.name), error)}") from None


# -- sources


def _named(source: Mapping[str, object], origin: Origin, notices: list[str]) -> Iterable[tuple[str, object]]:
    """Yield what a file, code or a flag sets; a name that nobody knows is refused."""
    without_effect = sorted(name for name in source if name in WITHOUT_EFFECT)
    if without_effect:
        notices.append(f"settings of Faust that have no effect here ({origin}): {', '.join(without_effect)}")
    for name, value in source.items():
        if name in without_effect or (origin is Origin.PYPROJECT and name in PROJECT_KEYS):
            continue
        if value is None and origin is not Origin.PYPROJECT:
            continue
        if name in REFUSED:
            _refuse(name, value, origin)
        elif _setting_of(name) is None:
            nearest = _nearest(name, [*names(), *ALIASES])
            raise SettingInvalid(f"{shown(name)}: no such setting ({origin}); the nearest is {nearest}")
        else:
            yield name, value


def _variables(environ: Mapping[str, str], notices: list[str]) -> Iterable[tuple[str, object]]:
    """Yield what `STREAMAPP_…` sets; a name that nobody knows is only told."""
    known = [*names(), *ALIASES, *(f"{secret}_file" for secret in SECRETS)]
    by_variable = {variable(name): name for name in [*known, *REFUSED, *WITHOUT_EFFECT]}
    without_effect: list[str] = []
    for key in sorted(environ):
        if not key.startswith(PREFIX):
            continue
        name = by_variable.get(key)
        if name is None:
            if not key.startswith(RESERVED_PREFIXES):
                nearest = _nearest(key, [variable(candidate) for candidate in known])
                notices.append(f"{shown(key)}: no such setting, ignored; the nearest is {nearest}")
        elif name in WITHOUT_EFFECT:
            without_effect.append(key)
        elif name in REFUSED:
            _refuse(name, environ[key], Origin.ENVIRONMENT)
        else:
            yield name, environ[key]
    if without_effect:
        notices.append(f"settings of Faust that have no effect here (environment): {', '.join(without_effect)}")


def _faust_variables(environ: Mapping[str, str]) -> list[str]:
    found = sorted(FAUST_VARIABLES.intersection(environ))
    return [f"ignored, only {PREFIX}… is read here: {', '.join(found)}"] if found else []


def _refuse(name: str, value: object, origin: Origin) -> None:
    if name == "producer_acks" and text_of(value).strip().lower() in ("-1", "all"):
        return
    raise SettingInvalid(f"{variable(name)}={shown(value)}: {REFUSED[name]} ({origin})")


def _one_per_setting(source: Iterable[tuple[str, object]], origin: Origin) -> dict[str, _Given]:
    """Read each value into its type; two names of one setting must agree."""
    given: dict[str, _Given] = {}
    for written, raw in source:
        name = _setting_of(written)
        assert name is not None
        value = _secret_in_file(name, written, raw) if written == f"{name}_file" else _readers()[name](raw)
        other = given.get(name)
        if other is not None and other.value != value:
            both = f"{_written(other.written, origin)} and {_written(written, origin)}"
            shown_values = "" if name in SECRETS else f" ({shown(other.value)} and {shown(value)})"
            raise SettingInvalid(f"{both}: two names of one setting differ{shown_values}; set {variable(name)} only")
        given[name] = _Given(name, written, value, origin)
    return given


def _setting_of(written: str) -> str | None:
    """Return the setting that a name in a source means, or None."""
    name = ALIASES.get(written, written)
    if name in _readers():
        return name
    secret = name.removesuffix("_file")
    return secret if secret in SECRETS and name != secret else None


def _secret_in_file(name: str, written: str, path: object) -> object:
    try:
        with Path(text_of(path)).open("rb") as file:
            text = file.read(_SECRET_FILE_BYTES).decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text, or no path"
        raise SettingInvalid(f"{variable(written)}={shown(path)}: must be a readable file with the {name} ({reason})") from None
    return read_secret(text.rstrip("\r\n"))


def _written(name: str, origin: Origin) -> str:
    return variable(name) if origin is Origin.ENVIRONMENT else name


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


# -- building


def _build(given: Mapping[str, _Given], notices: list[str]) -> Settings:
    """Make each room of what was given for it; rooms that others bound come first."""
    chosen: dict[str, object] = {name: value.value for name, value in given.items()}
    transaction = _room(TransactionSettings, chosen)
    _require_session_is_ours(given)
    _stretch_poll_interval(chosen, notices)
    group = _room(GroupSettings, chosen)
    _shrink_retry(chosen, transaction, group, notices)
    # Bounds of what nobody set follow what somebody did.
    _lower(chosen, "breaker_minimum", _default(BreakerSettings, "breaker_minimum"), chosen.get("breaker_last"))
    rooms = {room: _room(kind, chosen) for room, kind in ROOMS.items()}
    origin = {name: str(given[name].origin) if name in given else str(Origin.DEFAULT) for name in names()}
    return Settings(**rooms, origin=MappingProxyType(origin), notices=tuple(notices))


def _room(kind: type[Any], chosen: Mapping[str, object]) -> Any:
    return kind(**{field.name: chosen[field.name] for field in fields(kind) if field.name in chosen})


def _require_session_is_ours(given: Mapping[str, _Given]) -> None:
    protocol = given.get("group_protocol")
    if protocol is None or protocol.value != "consumer":
        return
    for name in ("session_timeout", "heartbeat_interval"):
        if name in given:
            raise ValueRefused(name, given[name].value, "must not be set with group_protocol consumer: it is the broker's there")


def _stretch_poll_interval(chosen: dict[str, object], notices: list[str]) -> None:
    """A session longer than the default poll interval takes the interval along, if nobody set that."""
    session = chosen.get("session_timeout")
    if "max_poll_interval" in chosen or not isinstance(session, float) or not 300 < session <= 1800:
        return
    chosen["max_poll_interval"] = session
    notices.append(f"max_poll_interval grew from 300 to {session:g} s: it is at least the session timeout")


def _shrink_retry(chosen: dict[str, object], transaction: TransactionSettings, group: GroupSettings, notices: list[str]) -> None:
    """Budget, attempt timeout and cap that nobody set shrink to their limits, with one line."""
    limit, derived = retry_limit(transaction, group)
    shrunk = [
        f"{name} {default:g} -> {limit:g} s"
        for name, default in (
            ("retry_budget", _default(RetrySettings, "retry_budget")),
            ("retry_attempt_timeout", _default(RetrySettings, "retry_attempt_timeout")),
        )
        if _lower(chosen, name, default, limit)
    ]
    budget = chosen.get("retry_budget", _default(RetrySettings, "retry_budget"))
    _lower(chosen, "retry_cap", _default(RetrySettings, "retry_cap"), budget)
    _lower(chosen, "retry_unknown_attempts", _default(RetrySettings, "retry_unknown_attempts"), chosen.get("retry_attempts"))
    if shrunk:
        notices.append(f"{', '.join(shrunk)}: at most {derived}")


def _lower(chosen: dict[str, object], name: str, default: float, limit: object) -> bool:
    """Lower the default of `name`, which nobody set, to a limit below it; a limit that is no sound number is refused elsewhere."""
    if name in chosen or not isinstance(limit, (int, float)) or not 0 < limit < default:
        return False
    chosen[name] = limit
    return True


def _default(room: type, name: str) -> float:
    value = next(field.default for field in fields(room) if field.name == name)
    assert isinstance(value, (int, float))
    return value


def _whence(given: _Given | None, error: ValueRefused) -> str:
    """Say where a refused value stands, if its variable is not the place."""
    hint = ""
    if text_of(error.value).startswith("tcp://"):
        hint = "; Kubernetes sets this for a service of that name (enableServiceLinks: false)"
    if given is None or given.origin is Origin.ENVIRONMENT:
        alias = f"; set as {variable(given.written)}" if given is not None and given.written != given.name else ""
        return alias + hint
    place = "[tool.streamapp] of pyproject.toml" if given.origin is Origin.PYPROJECT else str(given.origin)
    return f"; set in {place} as {given.written}{hint}"
