"""Which cells a local fleet has, and every port of it: one file, which the supervisor alone writes."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cellplane.errors import ProvisionError
from cellplane.provision.local import ports as port_choice
from cellplane.provision.local.folder import StateFolder, read_json, write_json
from cellplane.provision.local.settings import ANALYTICS, LocalSettings
from cellplane.provision.local.wishes import request_of, request_row
from cellplane.provision.values import CellRequest

_ROLES = ("api", "postgres", "nats")

STREAM_PORT = f"{ANALYTICS}.nats"
"""Name of the port of the stream that all cells' events go to."""


@dataclass(frozen=True, slots=True)
class Member:
    """A cell that the fleet has; ``running`` is what it is to be, not what it is."""

    request: CellRequest
    running: bool = True


class Roster:
    """The cells and ports of one fleet. What it says is on the disk before anything is done by it.

    Args:
        settings: of the fleet; how many cells it begins with counts for a new folder.

    Raises:
        ProvisionError: the folder is that of a fleet that began with another number of cells.
    """

    def __init__(self, settings: LocalSettings, folder: StateFolder) -> None:
        self._settings = settings
        self._folder = folder
        self._writing = threading.Lock()
        known = read_json(folder.endpoints) or {}
        if known.get("cells", settings.cells) != settings.cells:
            raise ProvisionError(
                f"{folder.root} holds a fleet that began with {known['cells']} cells: "
                f"use --cells {known['cells']}, or another folder with --state"
            )
        found = members_of(known)
        if found is None:
            ids = [f"cell-{number}" for number in range(1, settings.cells + 1)]
            found = {cell_id: Member(CellRequest(cell_id)) for cell_id in ids}
        self._members = found
        self._ports: dict[str, int] = known.get("ports", {})

    @property
    def members(self) -> Mapping[str, Member]:
        """The cells by id."""
        return self._members

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports, such as ``cell-1.api``."""
        return self._ports

    def choose_ports(self) -> None:
        """Find a port for everything, those of before where they are free. Only while nothing of the fleet runs.

        Raises:
            ProvisionError: too many ports are busy.
        """
        names = ["router.metrics", STREAM_PORT, *(name for cell_id in self._members for name in _names(cell_id))]
        self._write(self._members, port_choice.choose(self._settings.host, names, self._ports, avoid=self._named()))

    def put(self, member: Member) -> None:
        """Add a cell, with ports of its own, or change one.

        Raises:
            ProvisionError: too many ports are busy.
        """
        cell_id, ports = member.request.id, self._ports
        if cell_id not in self._members:
            avoid = {*self._named(), *ports.values()}
            ports = {**ports, **port_choice.choose(self._settings.host, _names(cell_id), {}, avoid=avoid)}
        self._write({**self._members, cell_id: member}, ports)

    def drop(self, cell_id: str) -> None:
        """Forget a cell and its ports."""
        gone = set(_names(cell_id))
        self._write(
            {key: member for key, member in self._members.items() if key != cell_id},
            {name: port for name, port in self._ports.items() if name not in gone},
        )

    def _named(self) -> set[int]:
        return {self._settings.router_port, self._settings.control_port}

    def _write(self, members: dict[str, Member], ports: dict[str, int]) -> None:
        host = self._settings.host
        with self._writing:
            write_json(
                self._folder.endpoints,
                {
                    "router": f"http://{host}:{self._settings.router_port}",
                    "control": f"http://{host}:{self._settings.control_port}",
                    "host": host,
                    "cells": self._settings.cells,
                    "members": {
                        cell_id: {"running": member.running, "request": request_row(member.request)}
                        for cell_id, member in members.items()
                    },
                    "ports": ports,
                },
            )
            self._members, self._ports = members, ports


def members_of(endpoints: Mapping[str, Any]) -> dict[str, Member] | None:
    """The cells that a folder's endpoints list; None where they list none yet."""
    rows = endpoints.get("members")
    if rows is None:
        return None
    return {cell_id: Member(request_of(row["request"]), bool(row["running"])) for cell_id, row in rows.items()}


def _names(cell_id: str) -> list[str]:
    return [f"{cell_id}.{role}" for role in _ROLES]
