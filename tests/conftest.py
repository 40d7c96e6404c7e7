"""What every test shares: one thread, no display, and the project's own description."""

import os

# Before anything imports torch, NumPy or matplotlib; subprocesses inherit it. One thread, because
# the order of a sum, and with it the last digit, depends on their number.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples on every machine and in every run, and no time limit on a busy one.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, which is the package."""
    return ROOT


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


# Their tables of model prices take each process ten seconds; tests of their own know them.
HEAVY = ("heston-call", "vega-hedging")
OVER_PRESETS = {"preset", "name", "mode", "baseline"}  # what such tests are parametrised by
SHOWN = ("test_presets.py", "test_scenario.py")  # which build no table


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of every preset is slow for the heavy ones."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is None or item.path.name in SHOWN or not set(call.params) <= OVER_PRESETS:
            continue
        if any(_heavy(value) for value in call.params.values()):
            item.add_marker(pytest.mark.slow)


def _heavy(value: Any) -> bool:
    return isinstance(value, str) and value.removeprefix("deephedge/").removesuffix("-v0") in HEAVY
