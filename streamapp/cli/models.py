"""`faust models` and `faust model X`: the types of an app's topics and tables, whatever library makes them.

Faust's own commands know faust.Record only, which registers itself; the others are found where the app names them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click
import faust.cli.model
import faust.cli.models
import msgspec
from faust.models import registry
from mode.utils import text

from streamapp.application import StreamApp
from streamapp.worker.models import is_faust_model


def types_of(app: StreamApp) -> dict[str, type]:
    """Return the models of the app's topics and tables other than Faust's, by their whole names."""
    named = [kind for topic in app.all_topics for kind in (topic.key_type, topic.value_type)]
    named += [getattr(table, "value_type", None) for table in app.tables.values()]
    found = {_name(kind): kind for each in named for kind in _classes(each) if _fields(kind) is not None}
    return dict(sorted(found.items()))


def _classes(kind: Any) -> Iterator[type]:
    """Yield the classes that a type is made of: `Order | None` and `list[Order]` name Order."""
    if isinstance(kind, type) and not get_args(kind):
        yield kind
    for part in get_args(kind):
        yield from _classes(part)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _fields(kind: type) -> list[tuple[str, Any, str]] | None:
    """Return (name, type, default, or * where there is none) of each field; None for what is no model."""
    if is_faust_model(kind):
        return None
    if issubclass(kind, msgspec.Struct):
        return [
            (field.encode_name, field.type, _default(field.default, field.default_factory, missing=msgspec.NODEFAULT))
            for field in msgspec.structs.fields(kind)
        ]
    if dataclasses.is_dataclass(kind):
        return [
            (field.name, field.type, _default(field.default, field.default_factory, missing=dataclasses.MISSING))
            for field in dataclasses.fields(kind)
        ]
    fields = getattr(kind, "model_fields", None)  # pydantic, which may not be installed
    if not isinstance(fields, dict):
        return None
    return [
        (name, field.annotation, "*" if field.is_required() else _default(field.default, field.default_factory, missing=None))
        for name, field in fields.items()
    ]


def _default(value: Any, factory: Any, *, missing: Any) -> str:
    if value is not missing and not callable(factory):
        return repr(value)
    if callable(factory):
        return f"{getattr(factory, '__name__', factory)}()"
    return "*" if missing is not None else repr(value)


def _shown(kind: Any) -> str:
    """Return a type as one writes it, without the constraints that it is annotated with: a pattern may be 300 characters."""
    origin, parts = get_origin(kind), [_shown(part) for part in get_args(kind)]
    if origin is Annotated:
        return parts[0]
    if origin in (Union, UnionType):
        return " | ".join(parts)
    if parts:
        return f"{_shown(origin)}[{', '.join(parts)}]"
    return "None" if kind is NoneType else str(getattr(kind, "__name__", kind))


class models(faust.cli.models.models):  # noqa: N801 - Faust's commands are called like this
    """List the models of the app's topics and tables."""

    app: StreamApp

    async def run(self, *, builtins: bool) -> None:
        ours = [[self.abbreviate_fqdn(name), inspect.getdoc(kind) or "<N/A>"] for name, kind in types_of(self.app).items()]
        rows = [self.model_to_row(model) for model in self.models(builtins)]
        self.say(self.tabulate(sorted([*map(list, rows), *ours]), headers=self.headers, title=self.title))


class model(faust.cli.model.model):  # noqa: N801
    """Show model detail."""

    app: StreamApp

    async def run(self, name: str) -> None:
        ours = types_of(self.app)
        found = [whole for whole in ours if name in (whole, whole.rpartition(".")[2])]
        if len(found) > 1:
            raise click.UsageError(f"Several models are called {name!r}: {', '.join(found)}")
        if not found:
            await super().run(name)
            return
        kind = ours[found[0]]
        rows = [[field, _shown(of), default] for field, of, default in _fields(kind) or ()]
        self.say(self.tabulate(rows, headers=self.headers, title=self.abbreviate_fqdn(found[0]), wrap_last_row=False))

    def _unknown_model(self, name: str, *, lookup: str | None = None) -> click.UsageError:
        names = [*types_of(self.app), *registry]
        alternative = text.didyoumean(names, lookup or name, fmt_none=f'Please run "{self.prog_name} models" for a list.')
        return click.UsageError(f"No model {name!r}. {alternative}")


__all__ = ["model", "models", "types_of"]
