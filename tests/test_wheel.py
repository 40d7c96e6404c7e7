"""The wheel: what it holds, and that it works where a user has an `envs/` folder of his own."""

import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

FOREIGN = ("envs", "agents", "baselines", "experiments")

USE_IT = """
import importlib, pkgutil, sys
from pathlib import Path

import envs  # the user's own, not the one that the wheel was made from
assert envs.OWNER == "the user"

import gymnasium as gym
import deephedge
assert Path(deephedge.__file__).is_relative_to(sys.prefix), deephedge.__file__
for module in pkgutil.walk_packages(deephedge.__path__, "deephedge."):
    importlib.import_module(module.name)

env = gym.make("deephedge/Hedging-v0")
observation, _ = env.reset(seed=0)
for _ in range(3):
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert not terminated and not truncated
env.close()

vector = gym.make_vec(
    "deephedge/Hedging-v0", num_envs=5, vectorization_mode="vector_entry_point"
)
vector.reset(seed=0)
for _ in range(3):
    observations, rewards, *_ = vector.step(vector.action_space.sample())
    assert len(observations) == len(rewards) == 5
vector.close()

assert sys.modules["envs"].OWNER == "the user"
"""

# What each extra is for, as shell commands in an empty folder; ROOT is the repository.
TRAIN = "deephedge train short-call --agent deep-hedging --steps 31000 --paths 500 --out run"
EXTRAS = {
    "data": ["deephedge backtest --hedger delta --hedger band"],
    "dev": [
        "python -c 'import QuantLib, hypothesis'",
        "pytest --version",
        "ruff --version",
        "mypy --version",
        "lint-imports --help",
    ],
    "docs": ["mkdocs build --strict --config-file ROOT/mkdocs.yml --site-dir $PWD/site"],
    "export": [
        TRAIN,
        "deephedge export run --to exported --format onnx",
        "test -f exported/policy.onnx",
    ],
    "ray": [
        "python -c 'from deephedge.experiments.executor import Task, executor_of; "
        'ran = executor_of("ray").run([Task("whether its report is there", callable)]); '
        "assert ran == [True]'"
    ],
    "tune": [
        "deephedge sweep short-call --agent sac --trials 1 --steps 3840 --out sweep",
        "test -f sweep/best.yaml",
    ],
}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the working tree: setuptools writes into what it builds."""
    leave = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    source = tmp_path_factory.mktemp("source") / "deephedge"
    shutil.copytree(root, source, symlinks=True, ignore=leave)
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheels}", str(source))
    (built,) = wheels.iterdir()
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and this one's dependencies without its editable."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, symlinks=True)
    scheme = {"base": str(home), "platbase": str(home)}
    interpreter = Path(sysconfig.get_path("scripts", "venv", scheme), "python")
    pip(f"--python={interpreter}", "install", "--no-deps", "--no-compile", str(wheel))
    # Python reads no .pth in a folder that a .pth names, and such a folder comes last: the editable
    # install of the one we run in is out of reach. Written only now: pip would see it installed.
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter.parent


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder whose packages are called like ours."""
    folder = tmp_path_factory.mktemp("work")
    for name in FOREIGN:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("OWNER = 'the user'\n")
    (folder / "use_it.py").write_text(USE_IT)
    return folder


def pip(*arguments: str) -> None:
    """Run this environment's pip, without the network."""
    run([sys.executable, "-m", "pip", *arguments, "--no-index"])


def run(
    command: list[str | Path], cwd: Path | None = None, variables: dict[str, str] | None = None
) -> str:
    """Standard output of a command that must succeed; it inherits no import path."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    inherited |= variables or {}
    done = subprocess.run(command, cwd=cwd, env=inherited, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_the_package_and_nothing_else(
    wheel: Path, root: Path, project: dict[str, Any]
) -> None:
    setuptools = project["tool"]["setuptools"]
    expected = {"deephedge/py.typed"}
    for package in setuptools["packages"]:
        inside = Path(*package.split(".")[1:])
        at_root = package == "deephedge"  # where tooling and prose lie beside the package
        expected |= {
            str("deephedge" / inside / path.name)
            for path in (root / inside).glob("*.py" if at_root else "[!.]*")
            if path.is_file()
        }
    held = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in held if name.split("/")[0].endswith(".dist-info")}
    assert held - about == expected
    assert any(name.endswith("/licenses/LICENSE") for name in about)


def test_every_kind_of_data_is_there(wheel: Path, project: dict[str, Any]) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            assert fnmatch.filter(held, f"{package.replace('.', '/')}/{pattern}"), pattern


def test_it_works_beside_packages_of_the_same_names(clean: Path, work: Path) -> None:
    run([clean / "python", "-W", "error", "use_it.py"], cwd=work)


def test_it_brings_the_command(clean: Path, work: Path) -> None:
    assert "short-call-jumps" in run([clean / "deephedge", "list", "scenarios"], cwd=work)


def test_every_extra_has_commands(project: dict[str, Any]) -> None:
    assert list(EXTRAS) == sorted(project["project"]["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS)
def test_it_installs_with_an_extra_and_nothing_else(
    extra: str, wheel: Path, root: Path, tmp_path: Path
) -> None:
    """From the index, at the versions of constraints.txt, into an environment of its own."""
    home, work = tmp_path / "venv", tmp_path / "work"
    venv.create(home, symlinks=True)
    work.mkdir()
    scripts = Path(sysconfig.get_path("scripts", "venv", {"base": str(home)}))
    install = ["install", "--quiet", "--no-compile", f"--constraint={root / 'constraints.txt'}"]
    interpreter = f"--python={scripts / 'python'}"
    try:
        run([sys.executable, "-m", "pip", interpreter, *install, f"{wheel}[{extra}]"])
        run([sys.executable, "-m", "pip", interpreter, "check"])
        path = {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "NO_MKDOCS_2_WARNING": "1"}
        for command in EXTRAS[extra]:
            run(["sh", "-c", command.replace("ROOT", str(root))], cwd=work, variables=path)
    finally:
        shutil.rmtree(home)
