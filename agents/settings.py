"""How each algorithm is set up for hedging: read from ``defaults.yaml``, never hidden in code."""

from __future__ import annotations

import difflib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from ..envs import Variation
from ..envs.action import ActionMap
from ..envs.part import Part
from ..envs.presets import read_yaml
from ..envs.rewards import Reward
from ..envs.rule import Rule

# Arguments of SB3's classes that are no option, and where they come from.
TAKEN = {
    **dict.fromkeys(("policy", "env", "policy_kwargs"), "net, activation, log_std, memory"),
    **dict.fromkeys(("learning_rate", "gamma"), "learning_rate; gamma is 1"),
    **dict.fromkeys(("seed", "device", "verbose", "tensorboard_log"), "the training's own"),
    **dict.fromkeys(("train_freq", "gradient_steps", "learning_starts"), "collect_steps and so on"),
    **dict.fromkeys(("replay_buffer_class", "replay_buffer_kwargs"), "rewards are kept as books"),
    "optimize_memory_usage": "the replay keeps both observations",
    "action_noise": "noise",
    "n_steps": "rollout_episodes",
}
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class AgentSettings(Part):
    """What an algorithm is built with.

    Attributes:
        algorithm: the name at the command line.
        steps: environment steps of a training.
        environments: paths stepped at once.
        action: replaces the view's action map; null keeps it.
        base: the baseline that the action is built on; null keeps the map's own.
        imitate: the baseline that the policy copies before it learns; null starts afresh.
        reward: replaces a telescoped reward; one that the scenario chose itself is kept.
        net: hidden layers of every network.
        memory: cells of a recurrent layer before them (deep-hedging: a GRU, 0 for none;
            recurrent-ppo: an LSTM).
        learning_rate: at the start; it falls linearly to ``learning_rate_end`` of that.
        rollout_episodes: whole episodes per rollout (PPO and its kin).
        minibatches: parts that a rollout is cut into for the updates (PPO and its kin).
        updates_per_transition: gradient steps per stored transition (off-policy).
        collect_steps: environment steps between updates (off-policy).
        warmup_episodes: whole episodes of the untrained policy, per environment, before learning.
        noise: standard deviation of the exploration noise (TD3, DDPG and the risk-aware critics).
        quantiles: of the remaining P&L, equally likely (quantile-critic).
        log_std: logarithm of the action noise at the start (PPO, A2C, RecurrentPPO).
        log_std_end: the same at the end; it falls linearly and is not learned. A learned noise
            stays too large, and the best mean under noise is not the best policy without it.
        validation: multiples of 8,192 paths that the best policy is chosen on. On few paths a
            noisy policy from the midst of a training looks better than the last.
        patience: evaluations on the validation paths without a lower risk after which training
            stops; null: never.
        vary: what differs between training paths; nothing by default.
        threads: of torch. One gives the same numbers on any number of cores, and networks as small
            as these are no slower for it (pfhedge's in benchmarks/results/deep_hedging.json).
        options: further arguments of the SB3 class, as they are named there.
    """

    algorithm: str
    steps: Annotated[int, Field(ge=1)]
    environments: Annotated[int, Field(ge=1)]
    action: ActionMap | None = None
    base: Rule | None = None
    imitate: Rule | None = None
    reward: Reward | None = None
    net: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (64, 64)
    activation: Literal["silu", "tanh", "relu"] = "silu"
    memory: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive
    learning_rate_end: Fraction = 0.02
    rollout_episodes: Annotated[int, Field(ge=1)] = 1
    minibatches: Annotated[int, Field(ge=1)] = 4
    updates_per_transition: Positive = 0.05
    collect_steps: Annotated[int, Field(ge=1)] = 1
    warmup_episodes: Annotated[int, Field(ge=0)] = 1
    noise: Annotated[float, Field(ge=0)] = 0.0
    quantiles: Annotated[int, Field(ge=2)] = 32
    log_std: float = -2.5
    log_std_end: float = -4.0
    validation: Annotated[int, Field(ge=1)] = 1
    patience: Annotated[int, Field(ge=1)] | None = None
    vary: Variation = Variation()
    threads: Annotated[int, Field(ge=1)] = 1
    options: Annotated[dict[str, Any], Field(default_factory=dict)]

    @field_validator("options")
    @classmethod
    def _free(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key in options:
            if key in TAKEN:
                raise ValueError(f"{key} is set by this project ({TAKEN[key]}): leave it out")
        return options

    @field_validator("algorithm")
    @classmethod
    def _known(cls, name: str) -> str:
        check_name(name)
        return name


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    text = (resources.files(__package__) / "defaults.yaml").read_text(encoding="utf-8")
    return read_yaml(text, "defaults.yaml")


def agent_names() -> list[str]:
    """The algorithms that can be trained."""
    return list(_defaults())


def check_name(name: str) -> None:
    """Refuse an unknown algorithm.

    Raises:
        ValueError: naming the nearest one.
    """
    if name not in agent_names():
        near = difflib.get_close_matches(name, agent_names(), n=1, cutoff=0.3)
        mend = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(agent_names())}"
        raise ValueError(f"unknown agent {name!r}: {mend}")


def agent_settings(name: str, **changes: Any) -> AgentSettings:
    """The defaults of an algorithm, with ``changes``.

    ``name`` is an algorithm, or a YAML file with an ``algorithm`` and the settings that differ from
    its defaults; like ``changes``, a key of the file replaces the default's value as a whole.

    Raises:
        ValueError: for an unknown algorithm, an impossible setting or a file without an algorithm,
            in one line.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        own = _read_settings(Path(name))
        name, changes = own.pop("algorithm"), own | changes
    check_name(name)
    try:
        return AgentSettings.model_validate({"algorithm": name, **_defaults()[name], **changes})
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ValueError(
            f"agent {name}: {key} {fault['input']!r}: {fault['msg'].lower()}"
        ) from None


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    if not isinstance(tree.get("algorithm"), str):
        raise ValueError(
            f"{path}: no algorithm: add a line such as 'algorithm: {agent_names()[0]}'"
        )
    return tree
