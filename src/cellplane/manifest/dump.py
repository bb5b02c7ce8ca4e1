"""A topology as fleet.yaml: in a stable order, without what has its default, and read back as it was."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from cellplane.manifest.kinds import API_VERSION, Value
from cellplane.manifest.resources import name_of, resource_of
from cellplane.manifest.yaml_tree import plain_value
from cellplane.model import Topology

_LINE_CHARS = 120


class _Dumper(yaml.SafeDumper):
    """Quotes every text that would be read as something else by YAML 1.1 or 1.2."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if plain_value(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(topology: Topology) -> str:
    """The file: the fleet, then its cells, pools and tenants, each by name."""
    values: list[Value] = [topology.fleet]
    values += sorted(topology.cells, key=name_of)
    values += sorted(topology.pools, key=name_of)
    values += sorted(topology.tenants, key=name_of)
    return dump_resources(resource_of(value) for value in values)


def dump_resources(resources: Iterable[Mapping[str, Any]]) -> str:
    """The file of resources (kind, name, spec), in their order."""
    documents = [
        {
            "apiVersion": API_VERSION,
            "kind": resource["kind"],
            "metadata": {"name": resource["name"]},
            "spec": resource["spec"],
        }
        for resource in resources
    ]
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_LINE_CHARS)
