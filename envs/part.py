"""Parts: frozen, checked descriptions that are the Python API, the YAML and the saved config."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import core_schema


class Part(BaseModel):
    """A frozen description: unknown keys, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Kind(Part):
    """A part that comes in kinds, told apart by its ``kind`` key.

    A direct subclass (``class Market(Kind)``) is a family. Its own subclasses that declare
    ``kind: Literal["..."] = "..."`` are the kinds and register themselves; a field annotated with
    the family accepts any of them. Adding a kind is a matter of writing one class.
    """

    kinds: ClassVar[dict[str, type[Kind]]] = {}
    generation: ClassVar[int] = 0  # grows with every new kind, so that schemas can be rebuilt

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Kind in cls.__bases__:
            cls.kinds = {}
        elif "kind" in cls.model_fields:
            (name,) = get_args(cls.model_fields["kind"].annotation)
            cls.kinds[name] = cls
            Kind.generation += 1

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        if "kind" in cls.__annotations__ or not cls.kinds:
            return handler(source)
        return core_schema.tagged_union_schema(
            choices={name: handler.generate_schema(kind) for name, kind in cls.kinds.items()},
            discriminator="kind",
        )
