"""One examination: asks whoever can be asked, in two rounds, and puts together what is known."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cellplane import __version__
from cellplane.client import Client
from cellplane.doctor.checks.cells import serving
from cellplane.doctor.facts import (
    AgentFact,
    BackupFact,
    CellFact,
    CertificateFact,
    DiskFact,
    Facts,
    Missing,
    NameFact,
    OwnTableFact,
    ProbeFact,
    SigningKeyFact,
    StoreFact,
)
from cellplane.doctor.gather import agents, cells, certificates, control, folders, keys, names, stores
from cellplane.doctor.gather.together import Question, together
from cellplane.doctor.settings import DoctorSettings
from cellplane.errors import CellplaneError, KeyFileError
from cellplane.model.address import is_ip
from cellplane.publishing.keys import PUBLIC_SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an installation is looked for.

    Attributes:
        control_url: of the control plane.
        client: that asks it; Missing where none can be made, with the reason.
        state: a state folder of this machine; Missing where there is none that is meant.
        agents: URLs of routers' metrics.
        keys: files of keys, of tables and cookies.
        certificates: files of certificates.
        tls: hosts and ports that show a certificate.
        client_certificate: files of the certificate and key that the control plane is shown.
        backups: files of backups.
    """

    control_url: str
    client: Client | Missing
    state: folders.State | Missing
    agents: tuple[str, ...] = ()
    keys: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    tls: tuple[tuple[str, int], ...] = ()
    client_certificate: tuple[Path, Path] | None = None
    backups: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question of which there may be several of a kind.

    Attributes:
        question: its answer is a fact.
        otherwise: the fact where nobody answers; takes the reason as ``failure``.
    """

    question: Question
    otherwise: Callable[..., Any]


def examine(places: Places, settings: DoctorSettings) -> Facts:
    """Everything that can be known now. Takes at most two deadlines."""
    one = {} if isinstance(places.client, Missing) else control.questions(places.client, settings)
    state = None if isinstance(places.state, Missing) else places.state
    if state is not None or places.keys:
        one["files"] = partial(folders.files_of, state, places.keys)
    found, several = _ask(one, _of_places(places, state, settings), settings)
    if isinstance(places.client, Missing):
        found |= dict.fromkeys(control.ASKED, places.client)
    found.setdefault("files", places.state)
    for name in ("agents", "certificates", "backups"):
        found[name] = several.get(name, ())
    for name in ("disks", "own_tables", "stores"):
        found[name] = several.get(name, ()) if state is not None else places.state
    found["key_files"], found["unreadable_keys"] = _key_files(places, settings)
    found["cells"] = _cells(found["cells"], found["own_tables"])
    if isinstance(found["cells"], Missing):
        found["probes"] = found["names"] = found["cells"]
    else:
        _, several = _ask({}, _of_cells(serving(found["cells"]), settings), settings)
        found |= {name: several.get(name, ()) for name in ("probes", "names")}
    return Facts(now=time.time(), version=__version__, control_url=places.control_url, **found)


def _ask(
    one: Mapping[str, Question], several: Mapping[str, Sequence[_Asked]], settings: DoctorSettings
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """The facts of single questions, and those of several, by name."""
    numbered = {
        f"{name} {number}": asked for name, questions in several.items() for number, asked in enumerate(questions)
    }
    questions = {**one, **{name: asked.question for name, asked in numbered.items()}}
    answers = together(questions, settings.workers, settings.deadline_seconds)
    found: dict[str, list[Any]] = {name: [] for name in several}
    for name, asked in numbered.items():
        answer = answers[name]
        fact = asked.otherwise(failure=answer.reason) if isinstance(answer, Missing) else answer
        found[name.partition(" ")[0]].append(fact)
    return {name: answers[name] for name in one}, {name: tuple(facts) for name, facts in found.items()}


def _of_places(places: Places, state: folders.State | None, settings: DoctorSettings) -> dict[str, list[_Asked]]:
    """What is asked of places that are named, and of a state folder."""
    urls = dict.fromkeys((*places.agents, *(state.agents() if state is not None else ())))
    asked = {
        "agents": [_Asked(partial(agents.ask_agent, url, settings), partial(AgentFact, url)) for url in urls],
        "backups": [_Asked(partial(keys.backup_of, path), partial(BackupFact, str(path))) for path in places.backups],
        "certificates": _certificates(places, settings),
    }
    if state is not None:
        trusted = tuple(path for path in state.keys if path.name.endswith(PUBLIC_SUFFIX))
        asked["own_tables"] = [
            _Asked(partial(folders.own_table, path, trusted), partial(OwnTableFact, str(path), 0))
            for path in state.routers
        ]
        asked["disks"] = [
            # One that hangs answers nobody.
            _Asked(partial(folders.disk_of, path), partial(DiskFact, str(path), None, failed=True))
            for path in (*state.control, *state.routers)
        ]
        asked["stores"] = [
            _Asked(partial(stores.store_of, cell, url, state.moves, settings), partial(StoreFact, cell))
            for cell, url in state.databases().items()
        ]
    return asked


def _certificates(places: Places, settings: DoctorSettings) -> list[_Asked]:
    files = [*places.certificates, *(places.client_certificate or ())[:1]]
    of_control = certificates.address_of(places.control_url)
    shown = [(address, None) for address in places.tls]
    servers = [*([(of_control, places.client_certificate)] if of_control is not None else []), *shown]
    return [
        *(_Asked(partial(certificates.of_file, path, settings), partial(CertificateFact, str(path))) for path in files),
        *(
            _Asked(
                partial(certificates.shown_by, host, port, settings, client), partial(CertificateFact, f"{host}:{port}")
            )
            for (host, port), client in servers
        ),
    ]


def _of_cells(asked: tuple[CellFact, ...], settings: DoctorSettings) -> dict[str, list[_Asked]]:
    """What is asked of cells that serve, and of their names."""
    by_name: dict[str, list[str]] = {}
    for cell in asked:
        if not is_ip(cell.address):
            by_name.setdefault(cell.address, []).append(cell.id)
    return {
        "probes": [_Asked(partial(cells.probe, cell, settings), partial(ProbeFact, cell.id)) for cell in asked],
        "names": [
            _Asked(partial(names.look_up, name, tuple(of), settings), partial(NameFact, name, tuple(of)))
            for name, of in by_name.items()
        ],
    }


def _cells(of_control: Any, own_tables: Any) -> Any:
    """The control plane's, or, where it says none, those of the table on a router's disk."""
    if isinstance(of_control, Missing) and not isinstance(own_tables, Missing):
        tables = [table for table in own_tables if table.cells]
        if tables:
            return max(tables, key=lambda table: table.epoch).cells
    return of_control


def _key_files(places: Places, settings: DoctorSettings) -> tuple[Any, tuple[str, ...]]:
    """The keys of files that are here, and the files that cannot be used, with the reason."""
    of_state = () if isinstance(places.state, Missing) else places.state.keys
    found: list[SigningKeyFact] = []
    unusable: list[str] = []
    for path in dict.fromkeys((*of_state, *places.keys)):
        try:
            found += keys.keys_of(path, settings)
        except KeyFileError as error:
            unusable.append(str(error))
    return tuple(found), tuple(unusable)


def state_of(folder: Path) -> folders.State | Missing:
    """What is in a state folder."""
    try:
        return folders.State.find(folder)
    except CellplaneError as error:
        return Missing(str(error))
    except OSError as error:
        return Missing(f"{folder} cannot be looked at ({error.strerror}): run this as its owner")
