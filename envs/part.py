"""Parts: frozen, checked descriptions that are the Python API, the YAML and the saved config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticKnownError, core_schema


class Part(BaseModel):
    """A frozen description: unknown keys, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Kind(Part):
    """A part that comes in kinds, told apart by its ``kind`` key.

    A direct subclass (``class Market(Kind)``) is a family. Its own subclasses that declare
    ``kind: Literal["..."] = "..."`` are the kinds and register themselves; a field annotated with
    the family accepts any of them, those registered later included. Adding a kind is a matter of
    writing one class (tests/envs/test_part.py).
    """

    kinds: ClassVar[dict[str, type[Kind]]]  # a family's own

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Kind in cls.__bases__:
            cls.kinds = {}
        elif "kind" in vars(cls).get("__annotations__", {}):
            (name,) = get_args(cls.model_fields["kind"].annotation)
            cls.kinds[name] = cls

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        # A family, once it is built, is looked up when a value comes: pydantic keeps the schemas of
        # nested models, so a union written down here would miss the kinds of a later import.
        if "kinds" in vars(cls):
            return core_schema.no_info_plain_validator_function(cls._any_kind)
        return handler(source)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        if "kinds" not in vars(cls):
            return handler(schema)
        kinds = [handler(kind.__pydantic_core_schema__) for kind in cls.kinds.values()]
        return {"oneOf": kinds, "discriminator": {"propertyName": "kind"}}

    @classmethod
    def _any_kind(cls, value: Any) -> Any:
        """The value as one of the kinds; a nested fault keeps its path."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise PydanticKnownError("model_type", {"class_name": cls.__name__})
        if "kind" not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        tag = value["kind"]
        if not isinstance(tag, str) or tag not in cls.kinds:
            known = ", ".join(repr(name) for name in sorted(cls.kinds))
            context = {"discriminator": "'kind'", "tag": str(tag), "expected_tags": known}
            raise PydanticKnownError("union_tag_invalid", context)
        return cls.kinds[tag].model_validate(value)
