"""A user's Python files with kinds of their own, and the same files in other processes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

PREFIX = "deephedge_plugin_"


@dataclass(frozen=True)
class PluginSource:
    """A plugin as it travels to another process, or to a machine that has no such file.

    Attributes:
        file: as it was asked for, for messages.
        place: where it was read.
        code: its text, as it is on disk.
    """

    file: str
    place: str
    code: bytes


def load_plugin(file: Path) -> None:
    """Run a Python file, which registers the kinds it defines.

    Raises:
        ValueError: in one line, for a file that is none, fails, or is named as one of another
            folder.
    """
    if not file.is_file() or file.suffix != ".py":
        raise ValueError(f"--plugin {file}: give a Python file")
    _run(PluginSource(str(file), str(file.resolve()), file.read_bytes()))


def loaded_plugins() -> tuple[PluginSource, ...]:
    """What another process must load to know the kinds that this one knows."""
    found = [module for name, module in sys.modules.items() if name.startswith(PREFIX)]
    return tuple(module.__plugin__ for module in found if hasattr(module, "__plugin__"))


def load_missing(plugins: tuple[PluginSource, ...]) -> None:
    """Load those of another process that are not loaded here."""
    for plugin in plugins:
        if plugin not in loaded_plugins():
            _run(plugin)


def _run(plugin: PluginSource) -> None:
    name = PREFIX + Path(plugin.file).stem
    before = sys.modules.get(name)
    other = getattr(before, "__plugin__", plugin)
    if other.place != plugin.place:
        raise ValueError(f"--plugin {plugin.file}: named as {other.place}: rename one of them")
    module = ModuleType(name)
    module.__file__ = plugin.file
    module.__plugin__ = plugin  # type: ignore[attr-defined]
    sys.modules[name] = module  # its classes are looked up there when they are unpickled
    try:
        exec(compile(plugin.code, plugin.file, "exec"), vars(module))
    except Exception as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise ValueError(f"--plugin {plugin.file}: {type(error).__name__}: {error}") from error
