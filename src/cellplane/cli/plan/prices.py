"""The price file: TOML, the one that ships with Cellplane or one of your own."""

import tomllib
from dataclasses import fields
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from cellplane.errors import ValidationError
from cellplane.planning.cost import Price, Prices

_TEXTS = ("unit", "what", "source")


def shipped_prices() -> str:
    """The text of the file that ships with Cellplane."""
    return files("cellplane.cli.plan").joinpath("prices.toml").read_text(encoding="utf-8")


def read_prices(path: Path | None) -> Prices:
    """Prices from this file, or those that ship with Cellplane.

    Raises:
        ValidationError: naming ``prices``; the message names the entry.
    """
    try:
        text = shipped_prices() if path is None else path.read_text(encoding="utf-8")
        entries = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ValidationError("prices", f"cannot read {path}: {error}") from error
    known = [field.name for field in fields(Prices)]
    if unknown := sorted(entries.keys() - set(known)):
        raise ValidationError("prices", f"{unknown[0]!r} is no price; expected {', '.join(known)}")
    return Prices(**{name: _price(name, entries.get(name)) for name in known})


def _price(name: str, entry: Any) -> Price:
    if not isinstance(entry, dict):
        raise ValidationError("prices", f"expected a table [{name}]")
    usd, as_of = entry.get("usd"), entry.get("as_of")
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd <= 1e6:
        raise ValidationError("prices", f"{name}.usd: expected 0 to 1,000,000 dollars, found {usd!r}")
    if not isinstance(as_of, date):
        raise ValidationError("prices", f"{name}.as_of: expected a date such as 2026-11-21, found {as_of!r}")
    for field in _TEXTS:
        if not isinstance(entry.get(field), str):
            raise ValidationError("prices", f"{name}.{field}: expected text, found {entry.get(field)!r}")
    if unknown := sorted(entry.keys() - {"usd", "as_of", *_TEXTS}):
        raise ValidationError("prices", f"{name}.{unknown[0]}: no such field")
    return Price(
        usd=float(usd), as_of=as_of.isoformat(), unit=entry["unit"], what=entry["what"], source=entry["source"]
    )
