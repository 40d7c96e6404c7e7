"""Scenarios as YAML: the presets, a user's files, and overrides by key path."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from .part import Kind
from .scenario import Scenario


class ScenarioError(ValueError):
    """A scenario that cannot be: one line that names the key, the value, the rule and the mend."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: ``1e-3`` is a number and ``no`` a string, unlike in YAML 1.1."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), None)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), None)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), None)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    None,
)


def preset_names() -> list[str]:
    """The names of the presets, sorted."""
    folder = resources.files(__package__) / "scenarios"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def load_scenario(name: str | Path, overrides: Mapping[str, str] | None = None) -> Scenario:
    """A preset by name, or a YAML file by path, with ``key.path: value`` overrides.

    Raises:
        ScenarioError: for an unknown preset, an unknown key, a wrong type or an impossible value.
    """
    tree = read_yaml(_text(str(name)), str(name))
    for key, value in (overrides or {}).items():
        _override(tree, key, yaml.load(value, _Loader))  # noqa: S506 - a SafeLoader
    return parse_scenario(tree, str(name))


def parse_scenario(tree: Any, source: str = "scenario") -> Scenario:
    """A scenario from plain data.

    Raises:
        ScenarioError: as `load_scenario`.
    """
    _rebuild()
    try:
        return Scenario.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError(f"{source}: {_explain(error)}") from None


def dump_scenario(scenario: Scenario) -> str:
    """The whole scenario as YAML, which `load_scenario` reads back to an equal one."""
    data = json.loads(scenario.model_dump_json())
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: strings that YAML 1.2 would take for numbers are quoted."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read_yaml(text: str, source: str) -> dict[str, Any]:
    """One YAML mapping.

    Raises:
        ScenarioError: when it is not YAML, or not a mapping.
    """
    try:
        tree = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ScenarioError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ScenarioError(f"{source}: a mapping of keys was expected, not {type(tree).__name__}")
    return tree


def _text(name: str) -> str:
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{name}: cannot be read: {error}") from None
    if name not in preset_names():
        raise ScenarioError(
            f"unknown preset {name!r}{_nearest(name, preset_names())} (a file must end in .yaml)"
        )
    return (resources.files(__package__) / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")


def _override(tree: Any, key: str, value: Any) -> None:
    """Set ``a.b.0.c`` in nested mappings and lists."""
    *parents, last = key.split(".")
    node = tree
    for part in [*parents, last]:
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise ScenarioError(f"{key}: {part!r} is not one of the {len(node)} entries from 0")
            index: Any = int(part)
        elif isinstance(node, dict):
            index = part
        else:
            raise ScenarioError(f"{key}: {part!r} is inside {node!r}, which has no keys")
        if part is last:
            node[index] = value
        else:
            if isinstance(node, dict) and index not in node:
                node[index] = {}
            node = node[index]


_built = -1


def _rebuild() -> None:
    """Let kinds that were registered since the last time in."""
    global _built
    if _built != Kind.generation:
        Scenario.model_rebuild(force=True)
        _built = Kind.generation


def _explain(error: ValidationError) -> str:
    """The first fault in one line."""
    fault = error.errors()[0]
    path = [str(part) for part in fault["loc"]]
    family_kinds = {kind for family in Kind.__subclasses__() for kind in family.kinds}
    shown = ".".join(part for part in path if part not in family_kinds) or "scenario"
    value, kind, context = fault["input"], fault["type"], fault.get("ctx", {})
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if kind == "extra_forbidden":
        return f"{shown}: unknown key{_nearest(path[-1], _fields_at(path[:-1]))}{more}"
    if kind == "union_tag_invalid":
        tags = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        return f"{shown}: unknown kind {context['tag']!r}{_nearest(context['tag'], tags)}{more}"
    if kind == "union_tag_not_found":
        return f"{shown}: a 'kind' is needed{more}"
    if kind == "missing":
        return f"{shown}: is missing{more}"
    message = fault["msg"].removeprefix("Value error, ")
    given = "" if isinstance(value, (dict, list, tuple)) or kind == "value_error" else f" {value!r}"
    return f"{shown}{given}: {message[0].lower()}{message[1:]}{more}"


def _fields_at(path: Sequence[str]) -> list[str]:
    """The keys that are known where ``path`` leads, as far as its kinds tell."""
    kinds = {name: kind for family in Kind.__subclasses__() for name, kind in family.kinds.items()}
    for part in reversed(path):
        if part in kinds:
            return list(kinds[part].model_fields)
    from .scenario import Hedge

    return list(Hedge.model_fields if "hedges" in path else Scenario.model_fields)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    return f": did you mean {near[0]!r}?" if near else f": choose one of {', '.join(known)}"
