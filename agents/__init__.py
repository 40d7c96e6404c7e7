"""Agents: what learns, on the native Stable-Baselines3 VecEnv."""

from .pathwise import DeepBellman, DeepHedging
from .policy_hedger import PolicyHedger
from .saved_policy import load_policy, save_policy
from .sb3_environment import HedgingVecEnv, as_sb3_env
from .settings import AgentSettings, agent_names, agent_settings
from .training import Trained, train_agent

__all__ = [
    "AgentSettings",
    "DeepBellman",
    "DeepHedging",
    "HedgingVecEnv",
    "PolicyHedger",
    "Trained",
    "agent_names",
    "agent_settings",
    "as_sb3_env",
    "load_policy",
    "save_policy",
    "train_agent",
]
