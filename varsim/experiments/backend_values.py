"""Check the values of `launcher`, `transport` and `exchange`, and describe them in JSON Schema."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from varsim.errors import ConfigError
from varsim.launch.backends import REGISTRIES, named_launcher


class RegisteredName:
    """Annotates a field that names an implementation; a registry lists the valid names."""

    def __init__(self, setting: str) -> None:
        self._registry = REGISTRIES[setting]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"enum": list(self._registry.names())}

    def _checked(self, name: str) -> str:
        try:
            self._registry.check(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return name


class LauncherValue:
    """Annotates a field with the name of a launcher, or one name with the launcher's settings."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        names = list(REGISTRIES["launcher"].names())
        settings = {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "propertyNames": {"enum": names},
            "additionalProperties": {"type": "object"},
        }
        return {"anyOf": [{"type": "string", "enum": names}, settings]}

    def _checked(self, value: object) -> object:
        try:
            named_launcher(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value
