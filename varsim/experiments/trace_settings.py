"""Define the settings of what the processes of a run record, as keys of an experiment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from varsim.experiments.sizes import size_bytes
from varsim.nearest import did_you_mean
from varsim.tracing.trace import LEVELS, LIMIT_BYTES, OFF, OPS, TraceOptions


class Keys(BaseModel):
    """The keys of a mapping in an experiment; other keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


LEAST_LIMIT_BYTES: Final = 2**16
"""The smallest limit of a trace: a smaller limit would be reached before the first variable."""

_WINDOW: Final = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")


def _level(value: Any) -> str:
    if value not in LEVELS:
        known = ", ".join(LEVELS)
        raise ValueError(f"{value!r} is not one of {known}{did_you_mean(str(value), LEVELS)}")
    return str(value)


def window_of(value: Any) -> tuple[int, int] | None:
    """Return the first call of a window, and the first call after it, from text such as 100:200.

    Raises:
        ValueError: It is no window.
    """
    if value is None or isinstance(value, tuple):
        return value
    found = _WINDOW.fullmatch(str(value))
    if found is None or not 1 <= int(found[1]) < int(found[2]):
        raise ValueError(
            f"invalid window {value!r}: write 100:200 for the calls of strategy.run from the "
            "100th to the 199th"
        )
    return int(found[1]), int(found[2])


def _size_bytes(value: Any) -> int:
    if value is None:
        return LIMIT_BYTES
    size = size_bytes(str(value)) or 0
    if size < LEAST_LIMIT_BYTES:
        raise ValueError(
            f"invalid size {value!r}: write 64 MiB, or a number of bytes from {LEAST_LIMIT_BYTES:,}"
        )
    return size


class TraceSettings(Keys):
    """What the processes of a run record. A level alone is short for a mapping with a level."""

    level: Annotated[
        str, BeforeValidator(_level), WithJsonSchema({"type": "string", "enum": list(LEVELS)})
    ] = Field(default=OPS, description="ops, messages or off.")
    steps: Annotated[
        tuple[int, int] | None,
        BeforeValidator(window_of),
        PlainSerializer(lambda window: window and f"{window[0]}:{window[1]}"),
        WithJsonSchema({"type": ["string", "null"], "pattern": r"^\s*\d+\s*:\s*\d+\s*$"}),
    ] = Field(
        default=None,
        description="The recorded calls of strategy.run: 100:200 is from the 100th to the 199th.",
    )
    limit: Annotated[
        int, BeforeValidator(_size_bytes), WithJsonSchema({"type": ["string", "integer", "null"]})
    ] = Field(
        default=LIMIT_BYTES,
        description="Largest trace of each process, such as 64 MiB, or a number of bytes.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_or_long(cls, value: Any) -> Any:
        return value if isinstance(value, dict | TraceSettings) else {"level": _level(value)}

    @model_serializer(mode="wrap")
    def _shortest(self, handler: SerializerFunctionWrapHandler) -> Any:
        said = {key: value for key, value in handler(self).items() if key in self.model_fields_set}
        return said if said.keys() - {"level"} else self.level

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of a level or a mapping."""
        return {"anyOf": [{"enum": list(LEVELS)}, handler.resolve_ref_schema(handler(core_schema))]}

    def options(self, directory: Path) -> TraceOptions | None:
        """Return the options of a trace that is written to `directory`; None if it is off."""
        if self.level == OFF:
            return None
        return TraceOptions(directory, self.level, self.limit, self.steps)
