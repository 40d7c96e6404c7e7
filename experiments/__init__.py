"""Experiments: train, evaluate, compare, backtest, report, and the command line."""

from .compare import compare
from .evaluation import Evaluation, HedgerResult, evaluate, example_paths
from .history.backtest import Backtest, backtest
from .history.contracts import contracts
from .history.price_history import PriceHistory, from_file, sp500
from .indifference import indifference_price, without_position
from .runs import load_run, train_run

__all__ = [
    "Backtest",
    "Evaluation",
    "HedgerResult",
    "PriceHistory",
    "backtest",
    "compare",
    "contracts",
    "evaluate",
    "example_paths",
    "from_file",
    "indifference_price",
    "load_run",
    "sp500",
    "train_run",
    "without_position",
]
