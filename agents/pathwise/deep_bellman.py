"""Deep Bellman hedging: the risk of one step and of what its end is worth, date by date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from ...envs import Episodes, Known, Scenario, Variation, View
from ...envs.desk import Desk
from ...envs.hedger import Observations
from ...envs.ledger import Account, ordered_sum, worth
from ...envs.namespace import TORCH
from ...envs.objectives import Entropic
from ...envs.stream import Role, generator_of, stream_of
from ...envs.tape import Tape
from ..random_state import global_generators
from ..sb3_environment import HedgingVecEnv
from .deep_hedging import CLIPPED_NORM, DeepHedging, Pathwise
from .policy import LAST_LAYER

Columns = tuple[Tensor, ...]  # one per hedge instrument


class DeepBellman(DeepHedging):
    """One-step gradients through the ledger, with a learned value of where a step ends.

    The value of a state (what the view shows, the holding with it) is the entropic risk of the rest
    of the episode,

        V(s) = min over actions of log E[exp(a (V(s') - w))] / a,    V = 0 at the end,

    with w the step's P&L; P&L so far drops out, as the risk is cash-invariant. Every update plays
    fresh paths, moves the holdings before each date by noise of ``spread`` position sizes, and
    takes one ledger step from all of these states at once: no gradient goes from date to date.

    Actor and value minimise one loss, ``mean l_V(s)(V(s') - w)``: its least over V is V itself. The
    critic also learns the slopes dV/dh (Werbos, "Approximate dynamic programming for real-time
    control and neural modeling", 1992, dual heuristic programming), which are all that the actor
    needs of V(s'): a slope is the weighted mean of the one-step gradients to h, which the actor's
    own backward pass gives. What the instruments move beyond their known mean is taken out of
    these gradients at weight 1, so that the noise left is that of the weights.

    Source: Buehler, Murray, Wood, "Deep Bellman hedging", 2022. Entropic risk only: of the
    law-invariant ones none but it (and the mean) is its own recursion (Kupper, Schachermayer,
    "Representation results for law invariant time consistent functions", 2009).
    Evidence: tests/agents/test_deep_bellman.py (gradient against central differences, one period
    and three dates against the optimum).

    Args:
        critic_steps: of the critic's optimiser per update; with too few the actor runs ahead of
            it.
        spread: of the holdings that states are explored with, position sizes.
        arguments: of `DeepHedging`.

    Raises:
        ValueError: for what `check` refuses, and for no steps or a spread below 0.
    """

    name: ClassVar[str] = "deep-bellman"

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: HedgingVecEnv,
        *,
        critic_steps: int = 4,
        spread: float = 0.1,
        **arguments: Any,
    ) -> None:
        if critic_steps < 1 or spread < 0:
            raise ValueError(
                f"agent {self.name}: critic_steps {critic_steps}, spread {spread}: give at least 1 "
                "step and a spread of 0 or more"
            )
        self.critic_steps, self.spread = critic_steps, spread
        super().__init__(policy, env, **arguments)

    @classmethod
    def check(cls, scenario: Scenario, view: View, variation: Variation) -> None:
        """Refuse what has no one-step recursion in the view.

        Raises:
            ValueError: for an objective other than entropic, a view with ``pnl``, varied episodes.
        """
        super().check(scenario, view, variation)
        reason = ""
        if not isinstance(scenario.objective, Entropic):
            reason = f"objective {scenario.objective.label}: its one-step recursion is another risk"
        elif "pnl" in scenario.features_of(view):
            reason = "the view shows 'pnl', which drops out of the recursion: leave it out"
        elif scenario.frictions:
            reason = f"{scenario.frictions[0]}: its dates do not stand alone: leave it out"
        elif variation:
            reason = "vary: its value is of one scenario"
        if reason:
            raise ValueError(f"agent {cls.name}: {reason}: or train deep-hedging")

    def _setup_model(self) -> None:
        super()._setup_model()
        if isinstance(self.env, HedgingVecEnv):  # else it is loaded, and this with it
            self.instruments = self.env.env.problem.desk.contract.instruments
        weights = int(stream_of(self.seed or 0, Role.POLICY, 0).generate_state(1)[0])
        inputs = self.observation_space.shape
        assert inputs is not None
        with global_generators(weights):
            self.critic = Critic(
                inputs[0], self.instruments, self.lr_schedule(1.0), **self.policy_kwargs
            )
        self.critic.to(self.device)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.policy.optimizer, self.critic.optimizer]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer", "critic", "critic.optimizer"], []

    def _update(self, episodes: Episodes, desk: Desk) -> Any:
        """One step of the actor, some of the critic; the actions played, ``[T width, N]``."""
        self.policy.set_training_mode(True)
        steps = OneStep(desk, episodes)
        with torch.no_grad():
            hedger = Pathwise(self.policy, desk)
            visited = steps.play(episodes, hedger)
        generator = generator_of(stream_of(self.seed or 0, Role.POLICY, self._n_updates + 1))
        holding = steps.spread(visited, self.spread, generator)
        seen = steps.observed(holding).detach()
        self._evaluate(seen, *self._improve(steps, holding, seen), desk.scenario)
        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        return torch.stack(hedger.actions).cpu().numpy()

    def _improve(self, steps: OneStep, holding: Columns, seen: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the actor; what the critic learns from, ``[M]`` money and slopes ``[M, K]``.

        A slope is in money scales per position size.
        """
        contract = steps.desk.contract
        with torch.no_grad():
            value = contract.scale * self.critic(seen)[0]
        to_go, risk = steps.risk(holding, self.policy, self.critic, value)
        loss = risk.mean() / contract.scale
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            self.policy.parameters(), CLIPPED_NORM, error_if_nonfinite=True
        )
        self.policy.optimizer.step()
        self.logger.record("train/loss", float(loss.detach()))
        self.logger.record("train/gradient_norm", float(norm))
        gradients = torch.stack([h.grad for h in holding if h.grad is not None], -1)
        return to_go, gradients * (len(gradients) * contract.size)

    def _evaluate(self, seen: Tensor, to_go: Tensor, slopes: Tensor, scenario: Scenario) -> None:
        """Steps of the critic towards what was found."""
        objective, scale = scenario.objective, scenario.contract.scale
        assert isinstance(objective, Entropic)
        for _ in range(self.critic_steps):
            value, slope = self.critic(seen)
            beyond = (objective.pointwise(to_go, (scale * value,), TORCH) - to_go).mean()
            of_value = 2.0 * beyond / (objective.aversion * scale**2)  # about a mean square
            of_slope = (slopes - slope).square().mean()
            self.critic.optimizer.zero_grad()
            (of_value + of_slope).backward()
            self.critic.optimizer.step()
        self.logger.record("train/value_loss", float(of_value.detach()))
        self.logger.record("train/slope_loss", float(of_slope.detach()))


class Critic(nn.Module):
    """Value and slopes to the holdings, ``[M, F]`` to ``[M]`` in money scales and ``[M, K]``.

    A slope is in money scales per position size.
    """

    def __init__(
        self,
        inputs: int,
        instruments: int,
        learning_rate: float,
        net_arch: Sequence[int] = (32, 32),
        activation_fn: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(*create_mlp(inputs, 1 + instruments, [*net_arch], activation_fn))
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(LAST_LAYER)
            last.bias.zero_()
        self.optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slopes."""
        found = self.net(observation)
        return found[:, 0], found[:, 1:]


class OneStep:
    """All dates of a batch of episodes side by side: M = T N states, one ledger step each.

    A step starts with cash that makes its wealth 0; what it earns is carried to the end of the
    episode with interest.
    """

    def __init__(self, desk: Desk, episodes: Episodes) -> None:
        self.desk = desk
        tape = Tape.of_tensors(episodes)
        observations = Observations(episodes, False)
        self.tape = observations.based(desk.action.built_on, desk.scenario, tape)
        steps, paths, device = episodes.steps, episodes.paths, episodes.spot.device
        dates, columns = torch.arange(steps, device=device), torch.arange(paths, device=device)
        self.at = dates.repeat_interleave(paths), columns.repeat(steps)
        self.last = self.at[0] == steps - 1
        self._features = episodes.features(desk.features)
        self._interest = torch.ones_like(episodes.spot[0])
        if tape.growth is not None:
            left = (1.0 + tape.growth).flip(0).cumprod(0).flip(0)
            left = torch.cat([left[1:], torch.ones_like(left[:1])])
            self._interest = left.expand(steps, paths).flatten()
        else:
            self._interest = self._interest.repeat(steps)

    def play(self, episodes: Episodes, hedger: Pathwise) -> Columns:
        """The holdings ``[M]`` before each date, where a hedger plays."""
        known = Known(self.desk.scenario, episodes, self.tape, Observations(episodes, False))
        account, state = self.desk.open(self.tape), hedger.start(episodes.paths)
        visited = []
        for t in range(episodes.steps):
            visited.append(account.holding)
            target, state = hedger.act(known._at(t, account), state)
            last = t == episodes.steps - 1
            account = self.desk.advance(account, target.unbind(-1), self.tape, t, last).account
        return tuple(map(torch.cat, zip(*visited, strict=True)))

    def spread(self, holding: Columns, sizes: float, generator: torch.Generator) -> Columns:
        """The same moved at random, within their bounds, as leaves of a gradient."""
        moved = []
        for units, (lower, upper) in zip(holding, self.desk.bounds, strict=True):
            noise = torch.randn(units.shape, generator=generator, dtype=units.dtype)
            far = units + sizes * self.desk.contract.size * noise.to(units.device)
            moved.append(far.clamp(lower, upper).requires_grad_())
        return tuple(moved)

    def observed(self, holding: Columns, after: bool = False) -> Tensor:
        """What is seen ``[M, F]`` with these holdings, at each date or ``after`` its step."""
        dates, columns = self.at
        at = (dates + 1, columns) if after else self.at
        rows = self._features[1:] if after else self._features[:-1]
        account = Account(0.0, holding, torch.zeros_like(holding[0]))
        own = self.desk.own_columns(account, self.tape, at)
        head = rows.flatten(0, 1)[:, : rows.shape[-1] - len(own)].to(holding[0].dtype)
        return torch.cat([head, torch.stack(own, -1)], -1) if own else head

    def risk(
        self, holding: Columns, policy: Any, critic: Any, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is still lost from each state, ``[M]`` and cut, and ``l_V`` of it for the actor.

        The gradient of the mean of the latter to the policy is that of the one-step risk; it has
        in addition what the instruments move beyond their mean, whose own mean is 0.

        Args:
            holding: before each date.
            policy: observations to actions.
            critic: observations to the value and the slopes where a step ends.
            value: V(s), ``[M]``, money.
        """
        contract, objective = self.desk.contract, self.desk.scenario.objective
        loss, surprise, after = self._step(holding, policy(self.observed(holding)))
        with torch.no_grad():
            ahead, slope = critic(self.observed(after, after=True))
            ahead = contract.scale * ahead.masked_fill(self.last, 0.0)
            slope = contract.scale / contract.size * slope.masked_fill(self.last[:, None], 0.0)
        moved = [p * (h - h.detach()) for p, h in zip(slope.unbind(-1), after, strict=True)]
        to_go, theta = loss + ahead + ordered_sum(moved), cast(Any, (value,))
        return to_go.detach(), objective.pointwise(to_go, theta, TORCH) + surprise

    def _step(self, holding: Columns, action: Tensor) -> tuple[Tensor, Tensor, Columns]:
        """The loss of each step, the part of it that nobody could foresee, what is held after."""
        desk, tape, at = self.desk, self.tape, self.at
        cash = -worth(holding, [price[at] for price in tape.price]) - tape.mark[at]
        account = Account(cash, holding, torch.zeros_like(cash))
        asked = desk.targets(action.unbind(-1), account, tape, at)
        dealt = desk.advance(account, asked, tape, at, self.last)
        luck = torch.zeros_like(cash)
        for j, units in enumerate(dealt.held[desk.options :]):
            surprise = tape.surprise(at, j)
            if surprise is not None:
                luck = luck + units * surprise
        loss = -dealt.account.wealth * self._interest
        return loss, luck * self._interest, dealt.account.holding
