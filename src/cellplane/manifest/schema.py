"""The JSON Schema of a document of fleet.yaml, for editors and for checks in other languages."""

from cellplane.manifest.kinds import API_VERSION, KINDS
from cellplane.manifest.shapes import Field, Json, defaults_of, schema_of


def schema() -> Json:
    """JSON Schema 2020-12 of one document: which fields there are, and what each may hold by itself.

    It cannot say what holds between fields and between resources: ``cellplane lint`` does.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Cellplane resource, {API_VERSION}",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "Version of the format."},
            "kind": {"enum": [kind.value for kind in KINDS], "description": "What this resource is."},
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind.value}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{kind.value}"},
            }
            for kind in KINDS
        ],
        "$defs": {
            kind.value: {
                "description": declared.about,
                "type": "object",
                "properties": {
                    "apiVersion": True,
                    "kind": True,
                    "metadata": schema_of(
                        (Field("name", declared.name, declared.name_shape, "Its name.", required=True),), {}
                    ),
                    "spec": schema_of(declared.fields, defaults_of(declared.of)),
                },
                "required": ["spec"] if any(field.required for field in declared.fields) else [],
                "additionalProperties": False,
            }
            for kind, declared in KINDS.items()
        },
    }
