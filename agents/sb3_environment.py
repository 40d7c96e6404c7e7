"""The vector environment as a native Stable-Baselines3 VecEnv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from ..envs import HedgingVectorEnv, Scenario, Variation, View

# One shared read-only info where an episode goes on: no Python object per environment and step.
_NOTHING = MappingProxyType[str, Any]({})


DEFAULT_ENVS = 1024


class HedgingVecEnv(VecEnv):
    """What SB3 algorithms step; rewards, observations and autoreset are `HedgingVectorEnv`'s.

    At an episode's end its info holds ``terminal_observation``, ``episode`` (reward, length) and
    the totals (P&L, cost, turnover), so no Monitor is needed. Evidence:
    tests/agents/test_sb3_environment.py.
    """

    def __init__(self, env: HedgingVectorEnv) -> None:
        self.env = env
        self._actions: NDArray[Any] | None = None
        self._nothing: list[Any] = [_NOTHING] * env.num_envs
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Start the next episodes; a seed given through `seed` applies once."""
        observation, _ = self.env.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, Any]:
        """One decision date in every environment."""
        assert self._actions is not None
        observation, reward, terminated, _, info = self.env.step(self._actions)
        infos = self._nothing
        if terminated.any():
            infos = list(infos)
            final, last = info["final_info"], info["final_obs"]
            returned, steps = final["total_reward"].tolist(), final["steps"].tolist()
            totals = [final[key].tolist() for key in ("total_pnl", "total_cost", "turnover")]
            for i in np.flatnonzero(terminated).tolist():
                infos[i] = {
                    "terminal_observation": last[i],
                    "TimeLimit.truncated": False,
                    "episode": {"r": returned[i], "l": steps[i], "t": 0.0},
                    "total_pnl": totals[0][i],
                    "total_cost": totals[1][i],
                    "turnover": totals[2][i],
                }
        return observation, reward.astype(np.float32), terminated, infos

    def state(self) -> dict[str, Any]:
        """Where the environments stand between two steps."""
        return self.env.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.env.restore(state)

    def close(self) -> None:
        """Nothing to release."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The vector environment's attribute, once per asked index."""
        return [getattr(self.env, attr_name)] * len(self._picked(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set it for all: the environments are one object.

        Raises:
            ValueError: when only some of them are asked for.
        """
        if len(self._picked(indices)) != self.num_envs:
            raise ValueError(f"set_attr({attr_name!r}): the environments are one, set it for all")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the vector environment's method once; its result once per asked index."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * len(self._picked(indices))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        return [False] * len(self._picked(indices))

    def _picked(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))


def as_sb3_env(
    scenario: str | Scenario | HedgingVectorEnv,
    num_envs: int | None = None,
    view: View | None = None,
    variation: Variation | None = None,
) -> HedgingVecEnv:
    """A VecEnv for any SB3 algorithm, from a preset's name, a scenario or a vector environment.

    Raises:
        ValueError: for ``num_envs``, a ``view`` or a ``variation`` beside a vector environment,
            which has its own.
    """
    if not isinstance(scenario, HedgingVectorEnv):
        count = DEFAULT_ENVS if num_envs is None else num_envs
        return HedgingVecEnv(HedgingVectorEnv(count, scenario, view, variation=variation))
    if num_envs is not None or view is not None or variation is not None:
        raise ValueError(
            f"num_envs {num_envs}, view {view} and variation {variation} beside a vector "
            "environment, which has its own: leave them out, or give its scenario"
        )
    return HedgingVecEnv(scenario)
