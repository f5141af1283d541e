"""How objects show themselves: in a line where Python asks, as a table in a notebook. Needs nothing but Python.

Tables take their colours from the notebook, so they are legible on a light and on a dark page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from aeattn.config.fields import settings

_CELL = "text-align:left;padding:0 1em 0 0;vertical-align:top"


def short_repr(config: Any) -> str:
    """A dataclass of settings as it could be typed: those alone that are not at their default."""
    given = ((each.name, getattr(config, each.name), each.default) for each in settings(type(config)))
    changed = (f"{name}={value!r}" for name, value, default in given if value != default)
    return f"{type(config).__name__}({', '.join(changed)})"


def rows_html(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """A table of names and values under a title, all of it escaped."""
    cells = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:normal;opacity:.75">{html.escape(name)}</th>'
        f'<td style="{_CELL}">{html.escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return (
        f'<table style="border-collapse:collapse;color:inherit;background:none"><caption style="text-align:left;'
        f'font-weight:bold;color:inherit">{html.escape(title)}</caption><tbody>{cells}</tbody></table>'
    )


class Shown:
    """A dataclass of settings, made with `repr=False`, that shows itself."""

    def __repr__(self) -> str:
        return short_repr(self)

    def _repr_html_(self) -> str:
        return config_html(self)


def config_html(config: Any) -> str:
    """A dataclass of settings as a table, what differs from the defaults first."""
    given = [(each.name, getattr(config, each.name), each.default) for each in settings(type(config))]
    changed = [(name, value) for name, value, default in given if value != default]
    rest = [(name, f"{value} (default)") for name, value, default in given if value == default]
    return rows_html(type(config).__name__, [*changed, *rest])
