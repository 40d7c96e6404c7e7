"""The hedging problem: markets, claims, pricing, costs, the ledger and the environments."""

from .calendar import Calendar, TradingDaysCalendar, TradingHoursCalendar, UniformCalendar
from .constraints import Limits
from .environment import HedgingEnv
from .episodes import Episodes, mark, simulate
from .hedger import Hedger, Known
from .presets import ScenarioError, dump_scenario, load_scenario, parse_scenario, preset_names
from .rollout import Outcome, rollout
from .scenario import Hedge, Scenario
from .shortfall import Shortfall
from .variation import Variation, draw
from .vector_environment import HedgingVectorEnv
from .view import View

__all__ = [
    "Calendar",
    "Episodes",
    "Hedge",
    "Hedger",
    "HedgingEnv",
    "HedgingVectorEnv",
    "Known",
    "Limits",
    "Outcome",
    "Scenario",
    "ScenarioError",
    "Shortfall",
    "TradingDaysCalendar",
    "TradingHoursCalendar",
    "UniformCalendar",
    "Variation",
    "View",
    "draw",
    "dump_scenario",
    "load_scenario",
    "mark",
    "parse_scenario",
    "preset_names",
    "rollout",
    "simulate",
]
