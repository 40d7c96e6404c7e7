"""Policies on disk: safetensors weights, a JSON spec and a checksum. Loading runs no pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from stable_baselines3.common.policies import BasePolicy

from ..envs import Scenario, View
from ..envs.learning import LearningProblem
from ..envs.namespace import NUMPY
from ..envs.part import Part
from .factory import ALGORITHMS, policy_alias, policy_arguments
from .policy_hedger import PolicyHedger
from .settings import AgentSettings

FORMAT = 1
SPEC, WEIGHTS = "spec.json", "weights.safetensors"


class PolicySpec(Part):
    """What a policy is rebuilt from.

    Attributes:
        format: of the folder; another number is refused.
        settings: how its algorithm was set up.
        scenario: what it was trained on.
        view: what it sees and how it acts.
        columns: its observation's columns.
        sha256: of the weights file.
    """

    format: int
    settings: AgentSettings
    scenario: Scenario
    view: View
    columns: list[str]
    sha256: str


def save_policy(
    folder: Path, policy: BasePolicy, settings: AgentSettings, scenario: Scenario, view: View
) -> None:
    """Write a policy to ``folder`` (made if missing); the spec last, so that half is never loaded.

    Raises:
        ValueError: for a scenario that cannot be written down (a user's Python callables).
    """
    tensors = {
        name: t.detach().cpu().clone().contiguous() for name, t in policy.state_dict().items()
    }
    weights = save_tensors(tensors)
    spec = PolicySpec(
        format=FORMAT,
        settings=settings,
        scenario=scenario,
        view=view,
        columns=LearningProblem(scenario, view, NUMPY).columns,
        sha256=hashlib.sha256(weights).hexdigest(),
    )
    text = spec.model_dump_json(indent=1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / SPEC).write_text(text, encoding="utf-8")


def load_policy(folder: Path, name: str | None = None) -> PolicyHedger:
    """A saved policy as a hedger.

    Raises:
        ValueError: in one line, when the folder is no policy, of another format, truncated or
            changed; no code in it is ever run (tests/agents/test_saved_policy.py).
    """
    spec = _read_spec(folder)
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ValueError(f"{folder / WEIGHTS}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(weights).hexdigest() != spec.sha256:
        raise ValueError(
            f"{folder / WEIGHTS}: {len(weights)} bytes that do not match the checksum in {SPEC}: "
            "the file is truncated or changed; copy the run again or train it anew"
        )
    policy = _empty_policy(spec)
    try:
        policy.load_state_dict(load_tensors(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder / WEIGHTS}: not the weights of {SPEC}: {reason}") from None
    policy.set_training_mode(False)
    return PolicyHedger(name or folder.parent.name, policy, spec.scenario, spec.view)


def _read_spec(folder: Path) -> PolicySpec:
    path = folder / SPEC
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read: {error.strerror}: give a run directory"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path}: format {found!r}, this version reads {FORMAT}: train the policy anew with it"
        )
    try:
        return PolicySpec.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{path}: {key}: {fault['msg'].lower()}") from None


def _empty_policy(spec: PolicySpec) -> BasePolicy:
    """The policy's modules with fresh weights; the generators are left as they were."""
    problem = LearningProblem(spec.scenario, spec.view, NUMPY)
    if problem.columns != spec.columns:
        raise ValueError(
            f"the policy was saved to see {spec.columns}, this version shows {problem.columns}: "
            "train the policy anew with it"
        )
    algorithm = spec.settings.algorithm
    kind = ALGORITHMS[algorithm].policy_aliases[policy_alias(algorithm)]
    arguments = policy_arguments(spec.settings)
    with torch.random.fork_rng(devices=[]):
        return kind(problem.observation_space, problem.action_space, lambda _: 0.0, **arguments)
