"""Resources: the model as JSON, ``{"kind": …, "name": …, "spec": {…}}``, as files and the API have it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cellplane.errors import ValidationError
from cellplane.manifest.kinds import KINDS, Kind, Value, spec_path
from cellplane.manifest.shapes import Field, Json, Report, defaults_of, did_you_mean, one_of, read_fields, write_fields
from cellplane.manifest.tree import Entry, Fields, fields_of, mark_at
from cellplane.model import Tenant, TenantState


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that somebody wants.

    Attributes:
        kind: see Kind.
        name: of the fleet, cell or pool, or the tenant's id.
        value: it in the model, with the defaults of what is not named.
        named: attributes of the model that it names.
    """

    kind: Kind
    name: str
    value: Value
    named: frozenset[str]

    def over(self, current: Value | None) -> Value:
        """It as it would be: what operations change too, and it does not name, stays as it is now.

        Args:
            current: what is there under its name now.
        """
        if current is None:
            return self.value
        kept = {
            field.attribute: getattr(current, field.attribute)
            for field in KINDS[self.kind].fields
            if field.operated and field.attribute not in self.named
        }
        return replace(self.value, **kept)

    def as_json(self) -> Json:
        """It as the API takes it: what it names, and nothing else."""
        spec = {
            field.name: field.shape.write(getattr(self.value, field.attribute))
            for field in KINDS[self.kind].fields
            if field.attribute in self.named
        }
        return {"kind": self.kind.value, "name": self.name, "spec": spec}


def kind_of(value: Value) -> Kind:
    """The kind of a value of the model."""
    return next(kind for kind, declared in KINDS.items() if isinstance(value, declared.of))


def name_of(value: Value) -> str:
    """What ``metadata.name`` is of a value of the model."""
    return str(getattr(value, KINDS[kind_of(value)].name))


def resource_of(value: Value) -> Json:
    """A value of the model as the API has it; fields that have their default are left out.

    A tenant's state ``moving`` is left out too: it belongs to the move, and no file sets it.
    """
    if isinstance(value, Tenant) and value.state is TenantState.MOVING:
        value = replace(value, state=TenantState.ACTIVE)
    kind = kind_of(value)
    spec = write_fields(KINDS[kind].fields, value, defaults_of(KINDS[kind].of))
    return {"kind": kind.value, "name": name_of(value), "spec": spec}


def parse_resource(kind: str, name: Any, spec: Mapping[str, Any]) -> Resource:
    """The resource of a JSON body.

    Raises:
        ValidationError: with the path of the first field that breaks a rule, such as ``Cell/cell-2.spec.port``, and how
            many more do.
    """
    if kind not in {known.value for known in Kind}:
        kinds = [known.value for known in Kind]
        raise ValidationError("kind", f"expected {one_of(kinds)}; found {kind!r}{did_you_mean(kind, kinds)}")
    report = Report(f"{kind}/{name}", "")
    resource = read_resource(Kind(kind), fields_of({"metadata": {"name": name}, "spec": spec}), report)
    if resource is None:
        first, *others = report.problems
        more = f" (and {len(others)} more)" if others else ""
        raise ValidationError(f"{first.resource}.{first.path}", first.message + more)
    return resource


def model_of(kind: str, name: str, spec: Mapping[str, Any]) -> Value:
    """The value of the model of a JSON body; raises as ``parse_resource`` does."""
    return parse_resource(kind, name, spec).value


def read_resource(kind: Kind, root: Fields, report: Report) -> Resource | None:
    """The resource of a document with ``metadata`` and ``spec``; None, and problems reported, where it is none."""
    declared = KINDS[kind]
    absent = Entry(Fields({}, root.mark))
    metadata = root.entries.get("metadata", absent).node
    naming = (Field("name", declared.name, declared.name_shape, "", required=True),)
    values = read_fields(naming, metadata, "metadata", report)
    values |= read_fields(declared.fields, root.entries.get("spec", absent).node, "spec", report)
    if report.problems:
        return None
    value: Value = declared.of(**values)
    try:
        value.validate("")
    except ValidationError as error:
        path = spec_path(kind, error.field.removeprefix("."))
        report.add(path, mark_at(root, path), error.message)
        return None
    return Resource(kind, name_of(value), value, frozenset(values) - {declared.name})
