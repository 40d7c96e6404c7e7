"""Risk-aware critics: off-policy agents that learn the law of the remaining P&L, not a reward."""

from .actor_critic import RiskActorCritic
from .quantile_critic import QuantileCritic
from .quantile_risk import risk_of_quantiles
from .replay import PnlReplayBuffer
from .two_critic import TwoCritic

__all__ = [
    "PnlReplayBuffer",
    "QuantileCritic",
    "RiskActorCritic",
    "TwoCritic",
    "risk_of_quantiles",
]
