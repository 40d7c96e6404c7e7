"""Scenarios as YAML: the presets, a user's files, and overrides by key path."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from .part import Kind
from .scenario import Scenario


class ScenarioError(ValueError):
    """A scenario that cannot be: one line that names the key, the value, the rule and the mend."""


_Place = tuple[int | str, ...]  # keys and list indices from the root


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: ``1e-3`` is a number and ``no`` a string, unlike in YAML 1.1."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
}.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), None
    )
# YAML 1.1 would read 010 as eight.
_Loader.add_constructor(
    "tag:yaml.org,2002:int",
    lambda loader, node: int(loader.construct_scalar(node)),  # type: ignore[arg-type]
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
    scenario = parse_scenario(read_yaml(_text(str(name)), str(name)), str(name))
    if not overrides:
        return scenario
    return changed(scenario, {key: parsed(value, key) for key, value in overrides.items()}, name)


def changed(
    scenario: Scenario, changes: Mapping[str, Any], source: str | Path | None = None
) -> Scenario:
    """The scenario with other values at some ``key.path``s.

    Raises:
        ScenarioError: as `load_scenario`, and for a scenario that cannot be saved.
    """
    tree = plain(scenario)  # whole: a default's key can be set too
    for key, value in changes.items():
        _override(tree, key, value)
    return parse_scenario(tree, str(scenario.name if source is None else source))


def parse_scenario(tree: Any, source: str = "scenario") -> Scenario:
    """A scenario from plain data.

    Raises:
        ScenarioError: as `load_scenario`.
    """
    try:
        return Scenario.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError(f"{source}: {_explain(error, tree)}") from None


def dump_scenario(scenario: Scenario) -> str:
    """The whole scenario as YAML, which `load_scenario` reads back to an equal one.

    Raises:
        ScenarioError: for a scenario with a part that is Python only, such as a callable.
    """
    return dump_yaml(plain(scenario))


def plain(scenario: Scenario) -> dict[str, Any]:
    """The whole scenario as plain data; errors as in `dump_scenario`."""
    try:
        data: dict[str, Any] = json.loads(scenario.model_dump_json())
    except PydanticSerializationError as error:
        raise ScenarioError(
            f"scenario {scenario.name!r} runs but cannot be saved: a part of it exists in Python "
            f"only ({error})"
        ) from None
    return data


def dump_yaml(tree: Any) -> str:
    """Plain data as YAML, which `read_yaml` reads back to the same."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: strings that YAML 1.2 would take for numbers are quoted."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def read_yaml(text: str, source: str) -> dict[str, Any]:
    """One YAML mapping.

    Raises:
        ScenarioError: when it is not YAML, or not a mapping.
    """
    tree = parsed(text, source)
    if not isinstance(tree, dict):
        raise ScenarioError(f"{source}: a mapping of keys was expected, not {type(tree).__name__}")
    return tree


def parsed(text: str, source: str) -> Any:
    """The value of a piece of YAML, such as ``0.3``.

    Raises:
        ScenarioError: when it is not YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{source}: not YAML: {' '.join(str(error).split())}") from None


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
    parts = key.split(".")
    node = tree
    for depth, part in enumerate(parts, start=1):
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise ScenarioError(f"{key}: {part!r} is not one of the {len(node)} entries from 0")
            index: Any = int(part)
        elif isinstance(node, dict):
            index = part
        else:
            raise ScenarioError(f"{key}: {part!r} is inside {node!r}, which has no keys")
        if depth == len(parts):
            node[index] = value
        else:
            if isinstance(node, dict) and node.get(index) is None:
                node[index] = {}  # what is off by default can be given key by key
            node = node[index]


def _explain(error: ValidationError, tree: Any) -> str:
    """The first fault in one line."""
    faults = _faults(error, tree)
    path, fault = next(iter(faults.items()))
    shown = ".".join(map(str, path))
    value, kind, context = fault["input"], fault["type"], fault.get("ctx", {})
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if kind == "extra_forbidden":
        return f"{shown}: unknown key{_nearest(str(path[-1]), _keys_at(path[:-1], tree))}{more}"
    if kind == "union_tag_invalid":
        tags = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        return f"{shown}: unknown kind {context['tag']!r}{_nearest(context['tag'], tags)}{more}"
    if kind == "union_tag_not_found":
        return f"{shown}: a 'kind' is needed{more}"
    if kind == "missing":
        return f"{shown}: is missing{more}"
    message = fault["msg"].removeprefix("Value error, ")
    if not path:
        return f"{message}{more}"  # a rule between parts, which names their keys itself
    given = "" if isinstance(value, (dict, list, tuple)) or kind == "value_error" else f" {value!r}"
    return f"{shown}{given}: {message[0].lower()}{message[1:]}{more}"


def _faults(error: ValidationError, tree: Any) -> dict[_Place, ErrorDetails]:
    """One fault for each place in the tree, without those that only follow from a deeper one."""
    found: dict[_Place, ErrorDetails] = {}
    for fault in error.errors():
        place = _place(fault, tree)
        # A value that fits none of several types has a fault for each: a mapping was meant as the
        # last, which is the one with keys.
        if place not in found or isinstance(fault["input"], dict):
            found[place] = fault
    outer = {p[:depth] for p in found for depth in range(len(p))}
    return {p: fault for p, fault in found.items() if p not in outer}


def _place(fault: ErrorDetails, tree: Any) -> _Place:
    """The fault's path without pydantic's labels for the branches of a union."""
    place: _Place = ()
    for part in fault["loc"]:
        if (isinstance(tree, dict) and part in tree) or isinstance(tree, list):
            place, tree = (*place, part), tree[part]  # type: ignore[index]
    return (*place, fault["loc"][-1]) if fault["type"] == "missing" else place


def _keys_at(path: _Place, tree: Any) -> list[str]:
    """The keys that are known at a place of the tree."""
    model: type[BaseModel] = Scenario
    for part in path:
        tree = tree[part]
        if isinstance(part, str):
            choices = _models(model.model_fields[part].annotation)
        if isinstance(tree, dict):
            tagged = [m for m in choices if "kind" in m.model_fields]
            named = [m for m in tagged if m.model_fields["kind"].default == tree.get("kind")]
            model = (named or choices)[-1]
    return list(model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field may hold, a family's kinds for the family."""
    if (
        isinstance(annotation, type)
        and issubclass(annotation, Kind)
        and "kinds" in vars(annotation)
    ):
        return list(annotation.kinds.values())
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    return f": did you mean {near[0]!r}?" if near else f": choose one of {', '.join(known)}"
