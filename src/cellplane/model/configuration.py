"""Configuration of the apps in cells: one setting of a fleet, a pool, a cell or a tenant, or a flag's rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import isfinite
from typing import Any, Self

from cellplane.errors import ValidationError
from cellplane.model.key import check_key, check_name

MAX_SETTING_CHARS = 100
"""Longest name of a setting."""

MAX_VALUE_CHARS = 4_096
"""Longest text among a setting's values."""

MAX_LIST_ITEMS = 1_000
"""Most values of a list."""

FLAG = "flag"
"""What the id of a flag begins with, before its name."""

MAX_FLAG_NAMES = 10_000
"""Most cells, and most tenants, that a rollout names."""


class Layer(Enum):
    """Of what a setting is, from the weakest on: a later one wins."""

    FLEET = "fleet"
    POOL = "pool"
    CELL = "cell"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Setting:
    """Which setting of what: ``fleet/batch``, ``pool/eu/batch``, ``cell/cell-3/batch``, ``tenant/acme/batch``.

    Attributes:
        layer: of what it is.
        owner: name or id of that; empty for the fleet, of which there is one.
        name: of the setting, as the app declares it.
    """

    layer: Layer
    owner: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one.

        Raises:
            ValidationError: it is none.
        """
        layer, *rest = text.split("/")
        layers = {each.value: each for each in Layer}
        if layer not in layers or len(rest) != (1 if layer == Layer.FLEET.value else 2):
            raise ValidationError(
                "config.id",
                f"expected fleet/NAME, pool/POOL/NAME, cell/CELL/NAME or tenant/TENANT/NAME, found {text[:200]!r}",
            )
        found = cls(layers[layer], rest[0] if len(rest) > 1 else "", rest[-1])
        found.validate("config.id")
        return found

    def validate(self, path: str) -> None:
        """Raise ValidationError unless owner and name can be such."""
        if self.layer is Layer.TENANT:
            check_key(path, self.owner)
        elif self.layer is not Layer.FLEET:
            check_name(path, self.owner)
        if not (1 <= len(self.name) <= MAX_SETTING_CHARS and self.name.isascii() and self.name.isidentifier()):
            raise ValidationError(
                path,
                f"a setting's name is 1 to {MAX_SETTING_CHARS} ASCII letters, digits and _, and begins with no digit; "
                f"found {self.name[:40]!r}",
            )

    def __str__(self) -> str:
        return "/".join(part for part in (self.layer.value, self.owner, self.name) if part)


def check_config_id(text: str) -> None:
    """Raise ValidationError unless this is the id of a setting, or ``flag/NAME``."""
    kind, _, name = text.partition("/")
    if kind == FLAG:
        check_name("config.id", name)
    else:
        Setting.parse(text)


def check_value(path: str, value: object) -> None:
    """Raise ValidationError unless a setting can have this value: what JSON has but objects, lists of one depth."""
    if isinstance(value, list):
        if len(value) > MAX_LIST_ITEMS:
            raise ValidationError(path, f"expected at most {MAX_LIST_ITEMS:,} values, found {len(value):,}")
        for number, each in enumerate(value):
            _check_scalar(f"{path}[{number}]", each)
    else:
        _check_scalar(path, value)


def _check_scalar(path: str, value: object) -> None:
    if isinstance(value, str):
        if len(value) > MAX_VALUE_CHARS:
            raise ValidationError(path, f"expected at most {MAX_VALUE_CHARS:,} characters, found {len(value):,}")
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValidationError(path, f"expected a finite number, found {value}")
    elif not (value is None or isinstance(value, bool | int)):
        raise ValidationError(
            path, f"expected text, a number, true, false, null or a list of these, found {value!r:.80}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRollout:
    """For whom a flag is on: nobody, as long as nothing is said.

    Attributes:
        everywhere: for all.
        cells: for all tenants of these.
        percent: for this share of all tenants, 0 to 100, whatever cell they are in.
        tenants: on or off for these, whatever else is said.
    """

    everywhere: bool = False
    cells: tuple[str, ...] = ()
    percent: float = 0.0
    tenants: Mapping[str, bool] = field(default_factory=dict)

    def validate(self, path: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        if not 0 <= self.percent <= 100:
            raise ValidationError(f"{path}.percent", f"expected 0 to 100, found {self.percent:g}")
        for what, names in (("cells", self.cells), ("tenants", tuple(self.tenants))):
            if len(names) > MAX_FLAG_NAMES:
                raise ValidationError(f"{path}.{what}", f"expected at most {MAX_FLAG_NAMES:,}, found {len(names):,}")
        for cell in self.cells:
            check_name(f"{path}.cells", cell)
        for tenant in self.tenants:
            check_key(f"{path}.tenants", tenant)

    def to_row(self) -> dict[str, Any]:
        """As the directory and the API have it."""
        return {
            "everywhere": self.everywhere,
            "cells": list(self.cells),
            "percent": self.percent,
            "tenants": dict(self.tenants),
        }
