"""The vector environment: many paths in step, a few array operations per date."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from .learning import LearningProblem
from .ledger import Account, Entries, select
from .namespace import NUMPY
from .rewards import RewardStep
from .scenario import Scenario
from .stream import EpisodeStream
from .tape import At
from .variation import Variation
from .view import View

Array = NDArray[Any]

KEPT_ENDINGS = 256  # dates with endings that theta is refitted to, at most
_BOOKS = ("_t", "_before", "_before_cash", "_level", "_cost", "_traded", "_returned")


class HedgingVectorEnv(VectorEnv[Array, Array, Array]):
    """`HedgingEnv` for ``num_envs`` paths at once; the datasheet is there.

    Autoreset is SAME_STEP: at the end of an episode the observation is the next one's first, the
    old one's last is in ``info["final_obs"]``, its last info in ``info["final_info"]``. With one
    environment and one seed both faces agree bit for bit (tests/envs/test_faces.py). With a
    ``variation`` the paths differ in aversion, costs or market; what is drawn and observed joins
    the features.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Scenario = "short-call-jumps",
        view: View | None = None,
        render_mode: str | None = None,
        variation: Variation | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs {num_envs}: at least 1")
        if render_mode is not None:
            raise ValueError(f"render_mode {render_mode!r}: the vector environment has none")
        self.problem = LearningProblem(scenario, view, NUMPY, variation)
        self.scenario = self.problem.scenario
        self.num_envs, self.render_mode = num_envs, None
        self.single_observation_space = self.problem.observation_space
        self.single_action_space = self.problem.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._desk, self._choices = self.problem.desk, self.problem.choices
        self._all = np.arange(num_envs)
        self._everywhere = np.broadcast_to(True, num_envs)  # read-only: every info has it
        self._stream: EpisodeStream | None = None
        self._finished: deque[Array] = deque(maxlen=KEPT_ENDINGS)
        self.reward_step: RewardStep | None = None
        self.drawn: tuple[Array | None, ...] | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the observation's columns."""
        return self.problem.columns

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start the next episode everywhere; with ``seed``, the first of that seed's episodes."""
        super().reset(seed=seed)
        if seed is not None or self._stream is None:
            self._entropy = int(self.np_random.integers(2**63))
            self._stream = self.problem.stream(self.num_envs, self._entropy)
            self._next = 0
        elif isinstance(self._t, np.ndarray):
            self._next = int(self._episodes.max()) + 1
        self._begin()
        zero = np.zeros(self.num_envs)
        info = self._info(self._account, zero, self._account.wealth.copy(), zero)
        return self._observe(), info

    def _begin(self) -> None:
        """All environments start the stream's next episode, in step."""
        assert self._stream is not None
        self._stream.release(self._next)
        self._tape, self._next = self._stream.episode(self._next), self._next + 1
        self._account = self._desk.open(self._tape)
        self._t: int | Array = 0
        self._terms = self.problem.terms_of(self._tape)
        zero = np.zeros(self.num_envs)
        self._before = self._before_cash = zero  # before the deal
        self._level = np.broadcast_to(self.problem.level(zero, zero, self._terms), self.num_envs)
        self._cost, self._traded, self._returned = zero, zero, zero

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One decision date in every environment.

        Raises:
            ValueError: for actions of the wrong shape, with NaN, or not among the choices; all
                episodes are as before.
        """
        if self._stream is None:
            raise ResetNeeded("call reset before step")
        numbers = self._numbers(actions)
        tape, at, before = self._tape, self._at(), self._account
        requested = self._desk.targets(numbers, before, tape, at)
        last = self._t == tape.steps - 1
        dealt = self._desk.advance(before, requested, tape, at, last)
        account, entries = dealt.account, dealt.entries
        terminated = np.full(self.num_envs, last) if isinstance(last, bool) else last
        if dealt.stopped is not False:
            terminated = terminated | dealt.stopped
        ended = bool(terminated.any())
        cash = np.where(terminated, account.wealth, account.cash) if ended else account.cash
        level = self.problem.level(account.wealth, cash, self._terms)
        books = self.problem.books(
            (self._before, self._before_cash), (account.wealth, cash), dealt, tape, at, terminated
        )
        reward = self.problem.earned(level - self._level, books, self._terms)
        self._count(entries, reward)
        pnl = account.wealth - self._before
        self.reward_step = books
        if self._terms is not None:
            # Copies: where clocks differ a restart overwrites the tape.
            self.drawn = tuple(None if row is None else row.copy() for row in tape.drawn)
        self._account, self._level, self._tape = account, level, dealt.tape
        self._before, self._before_cash = account.wealth, account.cash
        self._t = self._t + 1
        info = self._info(account, entries.cost, pnl, self._desk.clipped(dealt))
        observation = self._observe()
        if ended:
            info = self._final_info(info, terminated, observation)
            self._finished.append(self._ended(account.wealth, terminated))
            observation = self._restart(terminated, observation)
        return observation, reward, terminated, np.zeros(self.num_envs, dtype=bool), info

    def refit(self, least: int = 1) -> None:
        """Refit theta to the episodes that ended since, once there are ``least`` of them.

        Call it between rollouts only: within one, theta must stand still for rewards to telescope.
        """
        kept = list(self._finished)
        if sum(losses.shape[-1] for losses in kept) >= max(least, self.problem.least):
            self.problem.refit(*np.atleast_2d(np.concatenate(kept, axis=-1)))
            self._finished.clear()
            self._terms = self.problem.terms_of(self._tape)
            self._level = self.problem.level(self._before, self._before_cash, self._terms)

    def _ended(self, wealth: Array, ended: Array) -> Array:
        """The losses where an episode has ended ``[n]``, or these and their groups ``[2, n]``."""
        group, losses = self._tape.group, -wealth[ended]
        return losses if group is None else np.stack([losses, group[0][ended]])

    def _at(self) -> At:
        return self._t if isinstance(self._t, int) else (self._t, self._all)

    def _numbers(self, actions: Array) -> tuple[Array, ...]:
        actions = np.asarray(actions)
        if actions.shape != self.action_space.shape:
            raise ValueError(f"actions of shape {actions.shape}: give {self.action_space.shape}")
        if self._choices is not None:
            if not self.action_space.contains(actions):
                raise ValueError(f"an action is not one of the {len(self._choices)} choices")
            actions = self._choices[actions]
        if actions.dtype.kind not in "fiu":
            raise ValueError(f"actions of type {actions.dtype}: give numbers in [-1, 1]")
        if not np.isfinite(actions).all():
            raise ValueError("actions have a NaN or infinite entry: give numbers in [-1, 1]")
        return tuple(np.array(actions.clip(-1.0, 1.0).T, dtype=np.float64, order="C"))

    def _count(self, entries: Entries, reward: Array) -> None:
        self._traded = self._traded + entries.traded
        self._cost = self._cost + entries.cost
        self._returned = self._returned + reward

    def _observe(self) -> Array:
        features, at = self._tape.features, self._at()
        observation: Array = features[at].copy()  # type: ignore[index]
        own = self._desk.own_columns(self._account, self._tape, at)
        for column, value in enumerate(own, start=observation.shape[1] - len(own)):
            observation[:, column] = value
        return observation

    def _info(self, account: Account, cost: Array, pnl: Array, clipped: Array) -> dict[str, Any]:
        at, tape = self._at(), self._tape
        for books in (account.wealth, *account.holding):
            books.flags.writeable = False  # the ledger's own, shown and not copied
        info = {
            "pnl": pnl,
            "cost": cost,
            "wealth": account.wealth,
            "spot": tape.spot[at],
            "holding": account.holding[self._desk.options],
            "delta": tape.delta[0][at],
            "gamma": tape.gamma[at],
            "vega": tape.vega[at],
            "clipped": clipped,
        }
        for k, key in self._desk.further_holdings:
            info[key] = account.holding[k]
        return info | {f"_{key}": self._everywhere for key in info}

    def _final_info(self, info: dict[str, Any], ended: Array, last: Array) -> dict[str, Any]:
        """The last observation and info of the episodes that have ended, masked."""
        totals = {
            "total_pnl": self._account.wealth,
            "total_cost": self._cost,
            "turnover": self._traded / self._tape.spot[0],
            "total_reward": self._returned,
            "steps": np.broadcast_to(self._t, self.num_envs),
        }
        final = {key: value for key, value in info.items() if not key.startswith("_")} | totals
        final |= {f"_{key}": ended for key in final}
        return info | {
            "final_obs": last,
            "_final_obs": ended,
            "final_info": final,
            "_final_info": ended,
        }

    def _restart(self, ended: Array, observation: Array) -> Array:
        """The next episode where one has ended; the first observations there."""
        if isinstance(self._t, int) and ended.all():
            self._begin()
            return self._observe()
        if isinstance(self._t, int):
            self._part_clocks()
        which = np.flatnonzero(ended)
        self._episodes[which] += 1
        assert self._stream is not None and isinstance(self._t, np.ndarray)
        self._stream.release(int(self._episodes.min()))
        self._lay_out(which)
        self._terms = self.problem.terms_of(self._tape)
        self._t = np.where(ended, 0, self._t)
        opened = self._desk.open(self._tape)
        zero = np.zeros(self.num_envs)
        self._account = select(ended, opened, self._account, NUMPY)
        self._before = np.where(ended, 0.0, self._before)
        self._before_cash = np.where(ended, 0.0, self._before_cash)
        self._level = np.where(ended, self.problem.level(zero, zero, self._terms), self._level)
        self._cost, self._traded, self._returned = (
            np.where(ended, 0.0, total) for total in (self._cost, self._traded, self._returned)
        )
        return self._observe()

    def _part_clocks(self) -> None:
        """From now on every environment keeps its own date, on its own copy of the tape."""
        self._t = np.full(self.num_envs, self._t)
        self._episodes = np.full(self.num_envs, self._next - 1)
        self._tape = self._tape.copy()

    def _lay_out(self, which: Array) -> None:
        """Put the episodes that the environments ``which`` are in on the tape."""
        assert self._stream is not None
        if self._tape.response is not None:
            self._tape = self._tape.copy()  # every step has made it anew, read-only
        for episode in np.unique(self._episodes[which]):
            columns = which[self._episodes[which] == episode]
            self._tape.overwrite(self._stream.episode(int(episode)), columns)

    def state(self) -> dict[str, Any]:
        """Where all environments stand between two steps, as plain data for `restore`.

        The tape is not in it: an episode is a function of the stream's seed and its number.
        """
        parted = isinstance(self._t, np.ndarray)
        return {
            "generator": self.np_random.bit_generator.state,
            "entropy": self._entropy,
            "next": self._next,
            "episodes": self._episodes.copy() if parted else None,
            "account": tuple(self._account),
            "theta": self.problem.theta,
            "groups": self.problem.groups and self.problem.groups.state(),
            "finished": list(self._finished),
            "moved": self._tape.response and self._tape.response.state(),
            **{name: getattr(self, name) for name in _BOOKS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of as many environments on the same scenario and view."""
        self.np_random.bit_generator.state = state["generator"]
        self._entropy, self._next = state["entropy"], state["next"]
        self._account, self.problem.theta = Account(*state["account"]), state["theta"]
        if self.problem.groups is not None:
            self.problem.groups.restore(state["groups"])
        self._finished = deque(state["finished"], maxlen=KEPT_ENDINGS)
        for name in _BOOKS:
            setattr(self, name, state[name])
        self._stream = self.problem.stream(self.num_envs, self._entropy)
        if state["episodes"] is None:
            self._tape = self._stream.episode(self._next - 1)
        else:
            self._episodes = state["episodes"]
            self._tape = self._stream.episode(int(self._episodes.min())).copy()
            self._lay_out(self._all)
        if self._tape.response is not None:
            self._tape = self._tape.response.restored(self._tape, state["moved"])
        self._terms = self.problem.terms_of(self._tape)
