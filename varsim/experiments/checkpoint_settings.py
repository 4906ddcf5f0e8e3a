"""Define the settings of a run's checkpoints, as keys of an experiment."""

from __future__ import annotations

from typing import Any, Final

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from varsim.experiments.trace_settings import Keys

KEEP: Final = 2
"""The default number of checkpoints of a run. If the last one is damaged, another is left."""


class CheckpointSettings(Keys):
    """When a run saves checkpoints. A number alone is short for a mapping with `every`."""

    every: int = Field(ge=1, description="The number of steps between two checkpoints.")
    keep: int = Field(
        default=KEEP, ge=1, description="How many checkpoints are kept; older ones are deleted."
    )
    exact: bool = Field(
        default=True,
        description="true: a checkpoint keeps every replica's component, so that a resumed run has "
        "the same values, bit for bit. false: it keeps one value for each variable, as in "
        "TensorFlow.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_or_long(cls, value: Any) -> Any:
        return {"every": value} if isinstance(value, int) else value

    @model_serializer(mode="wrap")
    def _shortest(self, handler: SerializerFunctionWrapHandler) -> Any:
        said = {key: value for key, value in handler(self).items() if key in self.model_fields_set}
        return said if said.keys() - {"every"} else self.every

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of a number or a mapping."""
        number = {"type": "integer", "minimum": 1}
        return {"anyOf": [number, handler.resolve_ref_schema(handler(core_schema))]}
