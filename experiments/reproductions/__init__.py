"""Published tables, run again: what a paper reports beside what this package measures."""

from .paper import Cell, Learner, Paper, Published, paper_names, read_paper
from .reproduce import reproduce_cell
from .verdict import verdicts

__all__ = [
    "Cell",
    "Learner",
    "Paper",
    "Published",
    "paper_names",
    "read_paper",
    "reproduce_cell",
    "verdicts",
]
