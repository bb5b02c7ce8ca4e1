"""fleet.yaml: its resources, everything that is wrong with them, and where each value stands."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cellplane.errors import ValidationError
from cellplane.manifest.kinds import API_VERSION, KINDS, Kind, Value, spec_path
from cellplane.manifest.problem import Mark, Problem
from cellplane.manifest.resources import Resource, read_resource
from cellplane.manifest.settings import ManifestSettings
from cellplane.manifest.shapes import Report, did_you_mean, one_of, report_unknown
from cellplane.manifest.tree import Fields, Node, Scalar, mark_at, short, shown, steps
from cellplane.manifest.yaml_tree import documents
from cellplane.model import Cell, Fleet, Policy, Pool, Tenant, Topology

_TOP = ("apiVersion", "kind", "metadata", "spec")
_MAX_TENANT_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Document:
    """One resource of a file.

    Attributes:
        kind: of the resource.
        name: its ``metadata.name``, as far as it has one.
        file: name of the file.
        root: the document.
        resource: None where something is wrong with it.
    """

    kind: Kind
    name: str
    file: str
    root: Fields
    resource: Resource | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one or more files say.

    Attributes:
        documents: their resources, in order.
        problems: everything that is wrong with any of them by itself; none where it can be applied.
    """

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """The resources that nothing is wrong with."""
        return tuple(document.resource for document in self.documents if document.resource is not None)

    @property
    def has_fleet(self) -> bool:
        """Whether the fleet itself is there, so that the files can be judged as a whole."""
        return any(document.kind is Kind.FLEET for document in self.documents)

    def values(self, kind: Kind) -> list[Value]:
        """The values of one kind in the model, in order."""
        return [resource.value for resource in self.resources if resource.kind is kind]

    def topology(self) -> Topology:
        """The files as a whole fleet, which is not validated; they have a fleet, and no problems."""
        (fleet,) = (value for value in self.values(Kind.FLEET) if isinstance(value, Fleet))
        return Topology(
            fleet,
            tuple(value for value in self.values(Kind.CELL) if isinstance(value, Cell)),
            tuple(value for value in self.values(Kind.POOL) if isinstance(value, Pool)),
            tuple(value for value in self.values(Kind.TENANT) if isinstance(value, Tenant)),
        )

    def problem_at(self, path: str, message: str) -> Problem:
        """A problem that the model, or a lint rule, found in the fleet as a whole.

        Args:
            path: as the model's errors name fields: ``cells[2].port``, ``fleet.rules[0].pool``, ``pools.gold.spread``.
            message: what is wrong.
        """
        collection, _, rest = path.partition(".")
        name, _, index = collection.partition("[")
        kind = next((kind for kind, declared in KINDS.items() if declared.collection == name), None)
        found = [document for document in self.documents if document.kind is kind and document.resource is not None]
        if index:
            document = found[int(index.rstrip("]"))]
        elif kind is Kind.FLEET:
            document = found[0]
        else:
            named, _, rest = rest.partition(".")
            by_name = {document.name: document for document in found}
            if kind is None or named not in by_name:
                return Problem(message, path, file=self.documents[0].file if self.documents else "")
            document = by_name[named]
        assert kind is not None
        field = spec_path(kind, rest) if rest else ""
        label = f"{kind.value}/{document.name}"
        return Problem(message, field, label, document.file, mark_at(document.root, field))


def read(files: Iterable[tuple[str, str]], settings: ManifestSettings | None = None) -> Manifest:
    """What files say, each resource judged by itself.

    Args:
        files: the name and the text of each.
        settings: the bounds of a file.
    """
    bounds = settings or ManifestSettings()
    found: list[Document] = []
    problems: list[Problem] = []
    first: dict[tuple[Kind, str], Problem] = {}
    for file, text in files:
        nodes, wrong = documents(text, bounds)
        problems += (replace(problem, file=file) for problem in wrong)
        for node in nodes:
            report = Report("", file)
            document = _document(node, report)
            problems += report.problems
            if document is None:
                continue
            twice = _twice(document, first)
            if twice is not None:
                problems.append(twice)
            else:
                found.append(document)
    return Manifest(tuple(found), in_order(problems))


def check_whole(manifest: Manifest) -> tuple[Problem, ...]:
    """What is wrong with the files as a whole fleet, beyond what is wrong with any one resource.

    Every name that nothing has is found at once. What else the model refuses is found where there is nothing before it.
    """
    if not manifest.has_fleet:
        return (Problem("there is no Fleet among the files"),)
    problems = list(_dangling(manifest))
    if not problems and not manifest.problems:
        problems = list(_refused(manifest))
    return in_order(problems)


def _document(node: Node, report: Report) -> Document | None:
    if not isinstance(node, Fields):
        report.add("", node.mark, f"expected a resource with {', '.join(_TOP)}; found {shown(node)}")
        return None
    kind = _kind(node, report)
    name = _name(node)
    if kind is not None:
        report.resource = f"{kind.value}/{short(name)}" if name else kind.value
    report_unknown(list(_TOP), node, "", report)
    _check_version(node, report)
    if kind is None:
        return None
    return Document(kind, name, report.file, node, read_resource(kind, node, report))


def _kind(root: Fields, report: Report) -> Kind | None:
    kinds = [kind.value for kind in Kind]
    if "kind" not in root.entries:
        report.add("kind", root.mark, f"is missing: expected {one_of(kinds)}")
        return None
    node = root.entries["kind"].node
    if isinstance(node, Scalar) and node.value in kinds:
        return Kind(node.value)
    hint = did_you_mean(node.value, kinds) if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    report.add("kind", node.mark, f"expected {one_of(kinds)}; found {shown(node)}{hint}")
    return None


def _name(root: Fields) -> str:
    metadata = root.entries.get("metadata")
    if metadata is None or not isinstance(metadata.node, Fields) or "name" not in metadata.node.entries:
        return ""
    node = metadata.node.entries["name"].node
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""


def _check_version(root: Fields, report: Report) -> None:
    if "apiVersion" not in root.entries:
        report.add("apiVersion", root.mark, f"is missing: expected {API_VERSION}")
        return
    node = root.entries["apiVersion"].node
    if node != Scalar(API_VERSION, node.mark):
        report.add("apiVersion", node.mark, f"expected {API_VERSION}, found {shown(node)}")


def _twice(document: Document, first: dict[tuple[Kind, str], Problem]) -> Problem | None:
    """The problem that there is such a resource already; else it is noted."""
    # A fleet is one, whatever its name.
    key = (document.kind, "" if document.kind is Kind.FLEET else document.name)
    here = Problem("", "metadata.name", f"{document.kind.value}/{document.name}", document.file, document.root.mark)
    if key not in first:
        first[key] = here
        return None
    what = "a file describes one fleet, and there is one" if document.kind is Kind.FLEET else "stands twice, first"
    return replace(here, message=f"{what} at {first[key].place}", mark=mark_at(document.root, "metadata.name"))


def _dangling(manifest: Manifest) -> Iterator[Problem]:
    names = {kind: [document.name for document in manifest.documents if document.kind is kind] for kind in Kind}
    known = {kind: set(found) for kind, found in names.items()}
    for document in manifest.documents:
        if document.resource is None:
            continue
        for path, kind, name in _references(document.resource.value):
            if name not in known[kind]:
                field = spec_path(document.kind, path)
                yield Problem(
                    f"no {kind.value.lower()} is named {name!r}{did_you_mean(name, names[kind])}",
                    field,
                    f"{document.kind.value}/{document.name}",
                    document.file,
                    mark_at(document.root, field),
                )


def _references(value: Value) -> Iterator[tuple[str, Kind, str]]:
    """Each attribute of the model that names another resource: its path, what it names, and the name."""
    one: tuple[tuple[str, Kind, str | None], ...] = ()
    many: tuple[tuple[str, Kind, Sequence[str]], ...] = ()
    if isinstance(value, Fleet):
        one = (("default_pool", Kind.POOL, value.default_pool), ("default_cell", Kind.CELL, value.default_cell))
        one += tuple((f"rules[{place}].pool", Kind.POOL, rule.pool) for place, rule in enumerate(value.rules))
        one += _of_policy(value.policy)
        many = (("quarantine.cells", Kind.CELL, value.quarantine.cells),)
    elif isinstance(value, Pool):
        one = (("overflow", Kind.POOL, value.overflow), *_of_policy(value.policy))
        one += (("canary.cell", Kind.CELL, None if value.canary is None else value.canary.cell),)
        many = (("cells", Kind.CELL, value.cells),)
    elif isinstance(value, Tenant):
        one = (("pool", Kind.POOL, value.pool), *_of_policy(value.policy))
        many = (("shard", Kind.CELL, value.shard),)
    yield from ((path, kind, name) for path, kind, name in one if name is not None)
    for path, kind, found in many:
        yield from ((f"{path}[{place}]", kind, name) for place, name in enumerate(found))


def _of_policy(policy: Policy) -> tuple[tuple[str, Kind, str | None], ...]:
    return (("policy.standby", Kind.CELL, policy.standby), ("policy.shadow", Kind.CELL, policy.shadow))


def _refused(manifest: Manifest) -> Iterator[Problem]:
    """What the model refuses: its first error, or up to a bound the first of each tenant."""
    for _ in range(_MAX_TENANT_ROUNDS):
        try:
            manifest.topology().validate()
        except ValidationError as error:
            yield manifest.problem_at(error.field, error.message)
            place = steps(error.field)
            if place[0] != KINDS[Kind.TENANT].collection or len(place) < 2:
                return
            tenants = [document for document in manifest.documents if document.kind is Kind.TENANT]
            without = tenants[int(place[1])]
            manifest = replace(
                manifest, documents=tuple(document for document in manifest.documents if document is not without)
            )
        else:
            return


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems by file and place."""
    return tuple(sorted(problems, key=lambda problem: (problem.file, problem.mark or Mark(0, 0))))
