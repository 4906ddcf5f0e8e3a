"""Make the JSON Schema of a file that varsim writes from the class of its content."""

from __future__ import annotations

from typing import Any


def schema_of(kind: type, version: int, title: str) -> dict[str, Any]:
    """Return the JSON Schema of an object with the fields of a dataclass and a version.

    Args:
        kind: The dataclass.
        version: The only valid value of the field `version`, which is the first field.
    """
    from pydantic import TypeAdapter

    schema = TypeAdapter(kind).json_schema()
    schema["properties"] = {"version": {"const": version}, **schema["properties"]}
    schema["required"] = ["version", *schema["required"]]
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**draft, **schema, "title": title}
