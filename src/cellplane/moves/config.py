"""moves.yaml: which tables are the tenants', what moves beside their rows, and who is asked and told.

A move keeps the text that it began with: the file may be changed while it goes on.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from cellplane.errors import ValidationError
from cellplane.manifest.shapes import did_you_mean
from cellplane.manifest.tree import Fields, Scalar, short, shown
from cellplane.model.policy import Compare
from cellplane.moves.carriers.cargo import Cargo
from cellplane.moves.carriers.carrier import Carrier
from cellplane.moves.carriers.subjects import CELL, SubjectPattern
from cellplane.moves.chosen import FIELD as TABLES
from cellplane.moves.chosen import ChosenTables, read_chosen
from cellplane.moves.errors import MoveError
from cellplane.moves.expecting import FIELD as LIMITS
from cellplane.moves.expecting import read_limits
from cellplane.moves.fields import Place, Reader, WrongError, parsed, text_of
from cellplane.moves.hooks import NAMES, Hook, HookRecord, Hooks, HttpHook, PythonHook, loaded
from cellplane.moves.move import Move
from cellplane.moves.settings import CarrierSettings, SizeLimits
from cellplane.moves.shadowing import ShadowRules

FILE = "moves.yaml"
"""Name of the file in the state folder of a fleet."""

KEPT = "config.json"
"""Name of what a move keeps of it, in the folder of the move."""

_TENANT_HEADER = "x-tenant-id"

Value: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class PerCell:
    """A text for each cell: one with ``{cell}`` in it, or one that is named.

    Attributes:
        path: of the field, for messages.
        said: the text for all, or those by cell.
    """

    path: str
    said: str | Mapping[str, str] = field(repr=False)

    def of(self, cell: str) -> str:
        """That of a cell.

        Raises:
            MoveError: it has none.
        """
        if isinstance(self.said, str):
            return self.said.replace(CELL, cell)
        if cell not in self.said:
            raise MoveError(f"{FILE}: {self.path}: {cell} is not there: add it, or write one text with {CELL} for all")
        return self.said[cell]


@dataclass(frozen=True, slots=True)
class JetStreamConfig:
    """Work that waits in a stream of each cell's NATS; ``urls`` None: those of the fleet."""

    name: str
    stream: PerCell
    subjects: tuple[SubjectPattern, ...]
    tenant_header: str
    urls: PerCell | None

    def carrier(self, move: Move, queues: Mapping[str, str], _folder: Path, settings: CarrierSettings) -> Carrier:
        """What hands it over."""
        try:
            from cellplane.moves.carriers.jetstream import JetStreamCarrier  # noqa: PLC0415  # an extra
            from cellplane.moves.carriers.stream import QueueEnd  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise MoveError("work in JetStream is moved with nats-py: pip install 'cellplane[nats]'") from error

        def end(cell: str) -> QueueEnd:
            url = queues.get(cell) if self.urls is None else self.urls.of(cell)
            if url is None:
                raise MoveError(f"{FILE}: {self.name}: nothing says where {cell} has its NATS: add urls")
            return QueueEnd(cell, url, self.stream.of(cell))

        return JetStreamCarrier(
            self.name,
            move.tenant_id,
            move.id,
            (end(move.source), end(move.target)),
            self.subjects,
            tenant_header=self.tenant_header,
            settings=settings,
        )


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """A folder for each tenant below a root of each cell."""

    name: str
    roots: PerCell

    def carrier(self, move: Move, _queues: Mapping[str, str], folder: Path, settings: CarrierSettings) -> Carrier:
        """What copies it."""
        from cellplane.moves.carriers.files import FolderPrefix  # noqa: PLC0415  # only where it is asked for
        from cellplane.moves.carriers.prefix import PrefixCarrier  # noqa: PLC0415

        source, target = (
            FolderPrefix(folder / self.roots.of(cell), move.tenant_id, settings) for cell in (move.source, move.target)
        )
        return PrefixCarrier(self.name, move.id, source, target, settings)


@dataclass(frozen=True, slots=True)
class S3Config:
    """A prefix for each tenant in a bucket of each cell."""

    name: str
    buckets: PerCell

    def carrier(self, move: Move, _queues: Mapping[str, str], _folder: Path, settings: CarrierSettings) -> Carrier:
        """What copies it."""
        from cellplane.moves.carriers.prefix import PrefixCarrier  # noqa: PLC0415  # only where it is asked for
        from cellplane.moves.carriers.s3 import BucketPrefix, place_of  # noqa: PLC0415

        source, target = (
            BucketPrefix(place_of(self.buckets.of(cell)), move.tenant_id, settings)
            for cell in (move.source, move.target)
        )
        return PrefixCarrier(self.name, move.id, source, target, settings)


@dataclass(frozen=True, slots=True)
class PythonConfig:
    """A carrier of one's own: a function that makes it, and what it is given."""

    name: str
    factory: str
    options: Mapping[str, Value]

    def carrier(self, move: Move, _queues: Mapping[str, str], _folder: Path, _settings: CarrierSettings) -> Carrier:
        """What the function makes of the name, the move and the options."""
        made: Carrier = loaded(self.factory)(self.name, move, dict(self.options))
        return made


CarrierConfig: TypeAlias = JetStreamConfig | FilesConfig | S3Config | PythonConfig


@dataclass(frozen=True, slots=True)
class HookConfig:
    """What is called, and when."""

    on: tuple[str, ...]
    hook: Hook


@dataclass(frozen=True, slots=True)
class MovesConfig:
    """What moves.yaml says.

    Attributes:
        carriers: in the order in which they are asked.
        hooks: in the order in which they are called.
        shadow: what of answers is compared, where a move has a shadow.
        tables: which are the tenant's.
        limits: from which size on a tenant is moved only by force.
        text: as it was read.
        folder: to which its paths are relative.
    """

    carriers: tuple[CarrierConfig, ...] = ()
    hooks: tuple[HookConfig, ...] = ()
    shadow: ShadowRules = field(default_factory=ShadowRules)
    tables: ChosenTables = field(default_factory=ChosenTables)
    limits: SizeLimits = field(default_factory=SizeLimits)
    text: str = ""
    folder: Path = field(default_factory=Path)

    def cargo(self, move: Move, queues: Mapping[str, str], settings: CarrierSettings | None = None) -> Cargo:
        """What carries a move's things.

        Args:
            move: which.
            queues: cell → URL of its NATS, where the file names none.
            settings: limits and times.

        Raises:
            MoveError: it cannot be carried with what is installed, or for such a tenant.
        """
        settings = settings or CarrierSettings()
        carriers = (each.carrier(move, queues, self.folder, settings) for each in self.carriers)
        return Cargo(tuple(carriers), settings)

    @property
    def queues(self) -> frozenset[str]:
        """Names of the carriers whose things go over while writes wait."""
        return frozenset(each.name for each in self.carriers if isinstance(each, JetStreamConfig))

    def hooks_with(self, record: HookRecord) -> Hooks:
        """Who is asked and told of a move.

        Args:
            record: of what was called.
        """
        by_name: dict[str, tuple[Hook, ...]] = {}
        for each in self.hooks:
            for name in each.on:
                by_name[name] = (*by_name.get(name, ()), each.hook)
        return Hooks(by_name, record)

    def kept(self) -> bytes:
        """What a move keeps of it."""
        return json.dumps({"text": self.text, "folder": str(self.folder)}).encode()


def read_config(path: Path) -> MovesConfig:
    """Read the file.

    Raises:
        MoveError: it cannot be read, or says something that is not understood; the message names the field.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise MoveError(f"{path} cannot be read: {error}") from error
    return parse_config(text, path.absolute().parent, path.name)


def config_of(folder: Path) -> MovesConfig:
    """What a move has kept; one that has kept nothing has nothing to carry, and nobody to tell.

    Args:
        folder: of the move.

    Raises:
        MoveError: it is damaged.
    """
    try:
        kept = json.loads((folder / KEPT).read_text())
    except FileNotFoundError:
        return MovesConfig()
    except ValueError as error:
        raise MoveError(f"{folder / KEPT} is damaged ({error}): put it back before this move goes on") from error
    return parse_config(kept["text"], Path(kept["folder"]), FILE)


def parse_config(text: str, folder: Path, file: str = FILE) -> MovesConfig:
    """What the text says.

    Args:
        text: of the file.
        folder: to which its paths are relative.
        file: its name, for messages.

    Raises:
        MoveError: it says something that is not understood.
    """

    def read(top: Reader) -> MovesConfig:
        carriers = tuple(_carrier(each) for each in top.items("carriers"))
        names = [each.name for each in carriers]
        for name in names:
            if names.count(name) > 1:
                raise top.wrong("carriers", f"two are named {name!r}: give each a name of its own")
        hooks = tuple(_hook(each, folder) for each in top.items("hooks"))
        return MovesConfig(carriers, hooks, _shadow(top), read_chosen(top), read_limits(top), text, folder)

    return parsed(text, file, ("carriers", "hooks", "shadow", TABLES, LIMITS), read) or MovesConfig(
        text=text, folder=folder
    )


def _per_cell(found: Reader, name: str) -> PerCell | None:
    place = found.at(name)
    if place is None:
        return None
    if not isinstance(place.node, Fields):
        return PerCell(place.path, text_of(place))
    return PerCell(place.path, {cell: text_of(each) for cell, each in found.named(name).items()})


def _required_per_cell(found: Reader, name: str) -> PerCell:
    said = _per_cell(found, name)
    if said is None:
        raise found.wrong(name, f"expected a text with {CELL}, or one for each cell; found nothing: add it")
    return said


def _jetstream(name: str, found: Reader) -> CarrierConfig:
    subjects = []
    for place in found.texts("subjects"):
        try:
            subjects.append(SubjectPattern(text_of(place)))
        except MoveError as error:
            raise WrongError(place.path, place.node.mark, str(error)) from error
    header = found.text("tenantHeader", _TENANT_HEADER)
    return JetStreamConfig(name, _required_per_cell(found, "stream"), tuple(subjects), header, _per_cell(found, "urls"))


def _files(name: str, found: Reader) -> CarrierConfig:
    return FilesConfig(name, _required_per_cell(found, "roots"))


def _s3(name: str, found: Reader) -> CarrierConfig:
    return S3Config(name, _required_per_cell(found, "buckets"))


def _python(name: str, found: Reader) -> CarrierConfig:
    options: dict[str, Value] = {}
    for key, place in found.named("options").items():
        if not isinstance(place.node, Scalar):
            raise WrongError(place.path, place.node.mark, f"expected one value, found {shown(place.node)}")
        options[key] = place.node.value
    return PythonConfig(name, found.text("factory"), options)


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[str, Reader], CarrierConfig]]] = {
    "jetstream": (("name", "stream", "subjects", "tenantHeader", "urls"), _jetstream),
    "files": (("name", "roots"), _files),
    "s3": (("name", "buckets"), _s3),
    "python": (("name", "factory", "options"), _python),
}
"""Kind of a carrier → its fields, and what reads them."""


def _carrier(place: Place) -> CarrierConfig:
    one = Reader(place.node, place.path, tuple(_KINDS))
    kinds = [kind for kind in _KINDS if one.at(kind) is not None]
    if len(kinds) != 1:
        raise WrongError(place.path, place.node.mark, f"expected one of {', '.join(_KINDS)}, found {len(kinds)}")
    [kind] = kinds
    fields, read = _KINDS[kind]
    below = one.at(kind)
    assert below is not None
    found = Reader(below.node, below.path, fields)
    return read(found.text("name", kind), found)


def _shadow(top: Reader) -> ShadowRules:
    place = top.at("shadow")
    if place is None:
        return ShadowRules()
    found = Reader(place.node, place.path, ("ignore", "tolerancePercent"))
    ignore = () if found.at("ignore") is None else tuple(map(text_of, found.texts("ignore")))
    try:
        Compare(percent=100.0, ignore=ignore).validate(place.path)
    except ValidationError as error:
        raise WrongError(error.field, place.node.mark, error.message) from error
    return ShadowRules(ignore, found.number("tolerancePercent", ShadowRules().tolerance_percent, 0.0, 100.0))


def _hook(place: Place, folder: Path) -> HookConfig:
    found = Reader(place.node, place.path, ("on", "url", "secretFile", "python"))
    names = []
    for each in found.texts("on"):
        name = text_of(each)
        if name not in NAMES:
            hint = did_you_mean(name, sorted(NAMES)) or f": expected one of {', '.join(sorted(NAMES))}"
            raise WrongError(each.path, each.node.mark, f"no hook is named {short(name)!r}{hint}")
        names.append(name)
    if (found.at("url") is None) == (found.at("python") is None):
        raise WrongError(place.path, place.node.mark, "expected either url or python")
    if found.at("python") is not None:
        if found.at("secretFile") is not None:
            raise found.wrong("secretFile", "only calls by url are signed: take it away")
        target = found.text("python")
        if target.count(":") != 1:
            raise found.wrong("python", f"expected package.module:function, found {short(target)!r}")
        return HookConfig(tuple(names), PythonHook(target))
    url = found.text("url")
    if not url.startswith(("http://", "https://")):
        # Not shown: it may hold a secret.
        raise found.wrong("url", "expected http://… or https://…")
    secret = found.text("secretFile", "")
    return HookConfig(tuple(names), HttpHook(url, folder / secret if secret else None))
