"""Define the settings of variables in an experiment: a word for both keys, or a mapping."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from varsim.experiments.mode_text import WITH_PARAMETERS, WORDS, member_reader, read_synchronization
from varsim.experiments.trace_settings import Keys
from varsim.spec import Synchronization, VariableAggregation
from varsim.sync import policies
from varsim.texts.modes import PLAIN


def _choice(kind: type[Enum]) -> Any:
    """Return the annotations of a field for an enum's member, written as its lower-case name."""
    return (
        BeforeValidator(member_reader(kind)),
        PlainSerializer(lambda member: member.name.lower()),
        WithJsonSchema({"type": "string", "enum": [member.name.lower() for member in kind]}),
    )


_Synchronization = Annotated[
    Synchronization,
    BeforeValidator(read_synchronization),
    PlainSerializer(lambda chosen: chosen.name.lower()),
    WithJsonSchema(
        {"anyOf": [{"enum": list(WORDS)}, {"type": "string", "pattern": f"^{WITH_PARAMETERS}$"}]}
    ),
]
_Aggregation = Annotated[VariableAggregation, *_choice(VariableAggregation)]


_SHORT: Final = f"a mode ({PLAIN}), mode/aggregation or /aggregation"


def long_form(value: Any) -> Any:
    """Return a variable's settings as a mapping; `on_read/sum` is short for both keys.

    Raises:
        ValueError: `value` is neither a text nor a mapping.
    """
    if isinstance(value, str):
        mode, slash, aggregation = (part.strip() for part in value.partition("/"))
        said = {"synchronization": mode} if mode or not slash else {}
        return said | ({"aggregation": aggregation} if slash else {})
    if isinstance(value, dict | VariableSettings):
        return value
    raise ValueError(
        f"invalid value {value!r}: expected {_SHORT}; or a mapping with synchronization and "
        "aggregation"
    )


class VariableSettings(Keys):
    """Settings of some variables; these override the workload's settings."""

    @model_validator(mode="before")
    @classmethod
    def _short_or_long(cls, value: Any) -> Any:
        return long_form(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of a word for both keys, or of a mapping with these keys."""
        ways = "|".join(one.name.lower() for one in VariableAggregation)
        mapping = handler.resolve_ref_schema(handler(core_schema))
        modes = "|".join([*WORDS, WITH_PARAMETERS])
        text = {"type": "string", "pattern": f"^({modes})?(/({ways}))?$", "minLength": 1}
        return {
            "description": f"Short form: {_SHORT}; or a mapping.",
            "anyOf": [{"enum": list(WORDS)}, text, mapping],
        }

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.synchronization is not None and self.aggregation is not None:
            misfit = policies.refused_aggregation(self.synchronization, self.aggregation)
            if misfit is not None:
                raise ValueError(str(misfit))
        return self

    synchronization: _Synchronization | None = Field(
        default=None, description="When to synchronise."
    )
    aggregation: _Aggregation | None = Field(
        default=None, description="How to combine the replicas."
    )
