"""deephedge: hedge options under costs and jumps, beside the classical hedges.

Importing it registers the environments: ``deephedge/Hedging-v0``, which takes any ``scenario``, and
``deephedge/<preset>-v0`` for every preset.
"""

from gymnasium.envs.registration import register

from .envs import (
    HedgingEnv,
    HedgingVectorEnv,
    Scenario,
    load_scenario,
    preset_names,
    rollout,
    simulate,
)

__version__ = "0.1.0"

__all__ = [
    "HedgingEnv",
    "HedgingVectorEnv",
    "Scenario",
    "__version__",
    "load_scenario",
    "preset_names",
    "rollout",
    "simulate",
]

for _id, _arguments in [
    ("deephedge/Hedging-v0", {}),
    *[(f"deephedge/{_name}-v0", {"scenario": _name}) for _name in preset_names()],
]:
    register(
        id=_id,
        entry_point="deephedge.envs.environment:HedgingEnv",
        vector_entry_point="deephedge.envs.vector_environment:HedgingVectorEnv",
        kwargs=_arguments,
    )
