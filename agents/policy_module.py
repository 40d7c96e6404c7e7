"""A policy as one torch module: raw quantities in, holdings out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.tqc.policies import Actor as QuantileActor
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import Actor as EntropicActor
from stable_baselines3.td3.policies import Actor as PlainActor
from torch import Tensor, nn

from ..envs.contract import Contract
from ..envs.desk import Desk
from ..envs.instruments import Future
from ..envs.ledger import Account
from ..envs.namespace import TORCH
from ..envs.observation import FEATURES
from ..envs.own_features import BOUND
from ..envs.scenario import Scenario
from .pathwise import PathwisePolicy
from .policy_hedger import PolicyHedger

ROWS = 4  # start, now, the next date, the end: the dates that features look at
NOW = 1

MEANINGS = {
    "years_left": "time to the end of the episode, years",
    "episode_years": "length of the whole episode, years",
    "step_years": "length of the step ahead, years",
    "spot": "price of the first asset, money",
    "vol": "quoted vol, per sqrt(year)",
    "delta": "delta of the position (signed, all its legs) to the first asset",
    "gamma": "gamma of the position",
    "vega": "vega of the position, money per unit of vol",
    "theta": "theta of the position, money per year",
    "other_spot": "price of a further asset, money",
    "other_delta": "delta of the position to a further asset",
    "option_price": "mid price of a listed option, money",
    "option_delta": "delta of a listed option",
    "option_gamma": "gamma of a listed option",
    "option_vega": "vega of a listed option",
    "hedge_delta": "delta of a future to its asset",
    "jump": "log-jump of the step just ended",
    "variance": "instantaneous variance, per year",
    "alpha": "SABR's alpha",
    "alpha_start": "SABR's alpha at the start of the episode",
    "regime": "number of the regime, from 0",
    "aversion": "aversion of the objective, 1 / money",
    "cost_level": "costs as a multiple of the scenario's",
    "holding": "units of a hedge instrument held now",
    "wealth": "marked P&L so far, money",
}
# What each feature is made of; a name that ends in _ comes once per option or further asset.
_NEEDS: dict[str, tuple[str, ...]] = {
    "time_left": ("years_left",),
    "step_length": ("years_left", "step_years"),
    "log_spot": ("spot",),
    "moneyness": ("years_left", "spot", "vol"),
    "vol": ("vol",),
    **{greek: (greek,) for greek in ("delta", "gamma", "vega", "theta")},
    **{name: (f"{name}_",) for name in ("option_price", "option_delta", "option_gamma")},
    "other_spots": ("other_spot_",),
    "other_deltas": ("other_delta_",),
    **{latent: (latent,) for latent in ("jump", "variance", "regime")},
    "alpha": ("alpha", "alpha_start"),
    **{drawn: (drawn,) for drawn in ("aversion", "cost_level")},
    "pnl": ("wealth",),
    "net_gamma": ("gamma", "option_gamma_"),
    "net_vega": ("vega", "option_vega_"),
}


class PolicyModule(nn.Module):
    """A policy with its scaling, action map and limits inside.

    ``forward`` takes a mapping of the quantities in ``inputs``, each ``[N]`` in float64, and gives
    the holdings over (t, t+1], ``[N, K]`` in float64, within the limits. An option that has been
    settled cannot be held: what is said of it is void.

    Evidence: tests/agents/test_export.py (the holdings of `PolicyHedger` in a rollout).

    Attributes:
        inputs: the quantities by name, and what each is.

    Raises:
        ValueError: for a policy with a memory, of a class of its own, or around a base.
    """

    def __init__(self, hedger: PolicyHedger) -> None:
        super().__init__()
        scenario, base = hedger.scenario, hedger.view.action.built_on
        if base is not None:
            raise ValueError(
                f"hedger {hedger.name!r} acts around the base {base.name!r}, which torch programs "
                "and ONNX cannot hold: export it as csv, or train without a base"
            )
        if max(scenario.contract.listings, default=1) > 1:
            raise ValueError(
                f"hedger {hedger.name!r} trades a new option at every date and keeps the others, "
                "of which programs cannot be told: only scenarios with lasting options are exported"
            )
        self.network = network_of(hedger.policy)
        seen = scenario.features_of(hedger.view)
        if scenario.execution.delay or scenario.financing.margin is not None:
            raise ValueError(
                f"hedger {hedger.name!r}: execution.delay or a margin, which decide what is dealt "
                "beside the policy: export it as csv, or leave them out"
            )
        past = [name for name in ("signature", "pending", "displacement", "spread") if name in seen]
        if past:
            raise ValueError(
                f"hedger {hedger.name!r} sees {past[0]!r}, which what came before decides: only "
                "policies that see the present can be exported"
            )
        self._desk = Desk(scenario, TORCH, hedger.view)
        table = hedger.choices
        self._chosen = None if table is None else _Table(table)
        self._futures = _futures(scenario)
        self._fixed = scenario.calendar.fixed
        self.inputs = {
            name: MEANINGS.get(name) or MEANINGS[name.rpartition("_")[0]]
            for name in _input_names(self._desk, self._futures, self._fixed)
        }

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Target holdings ``[N, K]``."""
        desk, contract = self._desk, self._desk.contract
        holding = tuple(inputs[f"holding_{k}"] for k in range(contract.instruments))
        zero = torch.zeros_like(holding[0])
        account = Account(zero, holding, inputs.get("wealth", zero))
        tape: Any = self._tape(inputs)  # of one date
        numbers = self._numbers(self._observation(inputs, account, tape))
        targets = desk.targets(tuple(numbers.unbind(-1)), account, tape, 0)
        limited = [
            limits.apply(target, held, TORCH)
            for limits, target, held in zip(desk.limits, targets, holding, strict=True)
        ]
        return torch.stack(limited, -1)

    def _observation(self, inputs: Mapping[str, Tensor], account: Account, tape: Any) -> Tensor:
        desk = self._desk
        present = _Present(inputs, desk.contract, self._fixed)
        values: list[Tensor] = []
        for name in [name for name in desk.features if name in FEATURES]:
            found = FEATURES[name].formula(present)
            for block in [found] if isinstance(found, Tensor) else found:
                values.append(block.expand(ROWS, account.wealth.shape[0])[NOW].clamp(-BOUND, BOUND))
        own = desk.own_columns(account, tape, 0)
        return torch.stack([value.to(torch.float32) for value in [*values, *own]], -1)

    def _numbers(self, observation: Tensor) -> Tensor:
        """The deterministic action, in float64."""
        action: Tensor = self.network(observation)
        if self._chosen is not None:
            action = self._chosen(action)
        return action.to(torch.float64).clamp(-1.0, 1.0)

    def _tape(self, inputs: Mapping[str, Tensor]) -> Any:
        """What the desk looks up: deltas in units of the delta-one instruments, at one date."""
        contract = self._desk.contract
        first = contract.options
        assets = contract.assets[first:]
        closes = [assets.index(a) if a in assets else None for a in contract.assets[:first]]

        def counted(delta: Tensor, j: int | None) -> Tensor:
            future = j is not None and first + j in self._futures
            return delta / inputs[f"hedge_delta_{first + (j or 0)}"] if future else delta

        return SimpleNamespace(
            delta=[[counted(inputs[_delta_of(a)], j)] for j, a in enumerate(assets)],
            option_delta=[[counted(inputs[f"option_delta_{k}"], j)] for k, j in enumerate(closes)],
            closes=closes,
            base=None,
            closed=None,
            **{name: inputs[name][None] for name in ("gamma", "vega") if name in inputs},
            **{
                name: [inputs[f"{name}_{k}"][None] for k in range(first)]
                for name in ("option_gamma", "option_vega")
                if f"{name}_0" in inputs
            },
        )


class _Table(nn.Module):
    """The action of the choice with the highest value."""

    actions: Tensor

    def __init__(self, actions: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("actions", torch.from_numpy(actions))

    def forward(self, values: Tensor) -> Tensor:
        return self.actions[values.argmax(-1)]


class _Present:
    """The present as a block of four dates, which the formulas of features take."""

    def __init__(self, inputs: Mapping[str, Tensor], contract: Contract, fixed: bool) -> None:
        self._inputs, self.contract, self._fixed = inputs, contract, fixed

    def _rows(self, name: str) -> Tensor:
        return self._inputs[name].expand(ROWS, -1)

    def _each(self, name: str, count: int) -> list[Tensor]:
        return [self._rows(f"{name}_{i}") for i in range(count)]

    def __getattr__(self, name: str) -> Tensor:
        return self._rows(name)  # vol and the Greeks are called as their inputs

    @property
    def times(self) -> Tensor:
        left = self._inputs["years_left"]
        end = torch.full_like(left, self.contract.horizon)
        end = end if self._fixed else self._inputs["episode_years"]
        now = end - left
        ahead = self._inputs.get("step_years", left)
        return torch.stack([torch.zeros_like(end), now, now + ahead, end])

    @property
    def log_spot(self) -> Tensor:
        return self._rows("spot").log()

    @cached_property
    def price(self) -> Tensor:
        return torch.stack(self._each("option_price", self.contract.options), -1)

    @property
    def hedge_delta(self) -> Tensor:
        return torch.stack(self._each("option_delta", self.contract.options), -1)

    @property
    def hedge_gamma(self) -> Tensor:
        return torch.stack(self._each("option_gamma", self.contract.options), -1)

    @property
    def other_spots(self) -> tuple[Tensor, ...]:
        return tuple(self._each("other_spot", len(self.contract.spots) - 1))

    @property
    def other_deltas(self) -> tuple[Tensor, ...]:
        return tuple(self._each("other_delta", len(self.contract.spots) - 1))

    @property
    def latents(self) -> dict[str, Tensor]:
        found = {name: self._rows(name) for name in ("variance", "regime") if name in self._inputs}
        if "alpha" in self._inputs:
            now = self._rows("alpha")
            found["alpha"] = torch.cat([self._inputs["alpha_start"][None], now[1:]])
        return found


def _input_names(desk: Desk, futures: list[int], fixed: bool) -> list[str]:
    """The quantities that a policy's features, centre and holdings need, in the order shown."""
    contract = desk.contract
    needed = {need for name in desk.features for need in _NEEDS.get(name, ())}
    needed |= {_delta_of(asset) for asset in contract.assets[contract.options :]}
    needed |= {"option_delta_"} if contract.options else set()
    needed |= {desk.greek, f"option_{desk.greek}_"} if desk.greek else set()
    if not fixed and "years_left" in needed:
        needed.add("episode_years")
    of_options = ("option_price", "option_delta", "option_gamma", "option_vega")
    counts = dict.fromkeys(of_options, contract.options)
    counts |= dict.fromkeys(("other_spot", "other_delta"), len(contract.spots) - 1)
    names: list[str] = []
    for name in MEANINGS:
        if name == "holding":
            names += [f"holding_{k}" for k in range(contract.instruments)]
        elif name == "hedge_delta":
            names += [f"hedge_delta_{k}" for k in futures]
        elif name in needed:
            names.append(name)
        else:
            each = [f"{name}_{i}" for i in range(counts.get(name, 0))]
            names += [one for one in each if f"{name}_" in needed or one in needed]
    return names


def _delta_of(asset: int) -> str:
    return "delta" if asset == 0 else f"other_delta_{asset - 1}"


def _futures(scenario: Scenario) -> list[int]:
    """The instruments whose own delta is not 1, though they close one."""
    return [k for k, hedge in enumerate(scenario.hedges) if isinstance(hedge.instrument, Future)]


def network_of(policy: BasePolicy) -> nn.Sequential:
    """From the observation to the deterministic action; the values of choices for DQN.

    Raises:
        ValueError: for a policy with a memory, or of a class of its own.
    """
    if isinstance(policy, PathwisePolicy) and policy.cells is None:
        return nn.Sequential(policy.mu)
    if isinstance(policy, DQNPolicy):
        return nn.Sequential(policy.q_net.q_net)
    actor = getattr(policy, "actor", None)
    if isinstance(actor, PlainActor):
        return nn.Sequential(actor.mu)
    if isinstance(actor, EntropicActor | QuantileActor):
        return nn.Sequential(actor.latent_pi, actor.mu, nn.Tanh())
    if isinstance(policy, ActorCriticPolicy) and not isinstance(policy, RecurrentActorCriticPolicy):
        return nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net)
    raise ValueError(
        f"a {type(policy).__name__} cannot be exported: only policies that see nothing but the "
        "present can, those of ppo, a2c, sac, td3, ddpg, tqc, dqn, the critics, deep-hedging and "
        "deep-bellman"
    )
