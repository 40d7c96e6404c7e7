"""What a baseline is, and how one is named at the command line."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from ..envs.hedger import Known, stack
from ..envs.namespace import X
from ..envs.rule import Rule
from ..envs.scenario import Scenario


class Baseline(Rule):
    """A rule without learning."""

    @property
    def name(self) -> str:
        """As the command line spells it: ``delta``, ``band:width=0.05``."""
        options = self.model_dump(exclude={"kind"}, exclude_defaults=True)
        text = ",".join(f"{key}={value}" for key, value in options.items())
        kind: str = getattr(self, "kind")  # noqa: B009 - declared by the kinds
        return f"{kind}:{text}" if text else kind

    def start(self, n: int) -> Any:
        """No memory."""
        return None

    def refusal(self, scenario: Scenario) -> str | None:
        """Why the rule does not fit the scenario, with the mend; null where it does."""
        return None

    @classmethod
    def variants(cls, scenario: Scenario) -> tuple[Baseline, ...]:
        """The rule as reports show it, before any tuning."""
        return (cls(),)

    def ranges(self, scenario: Scenario) -> dict[str, tuple[float, float]]:
        """Options that `tuned` may choose, with where it looks, in the option's unit."""
        return {}

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """Target holdings ``[N, K]`` over (t, t+1], and the next state.

        Raises:
            ValueError: where `refusal` has a reason.
        """
        reason = self.refusal(known.scenario) if known.t == 0 else None
        if reason is not None:
            raise ValueError(f"hedger {self.name!r}: {reason}")
        return self.holdings(known, state)

    @abstractmethod
    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """The rule itself, where it fits: as `act`."""


def delta_one_only(known: Known, holding: X) -> X:
    """Holdings ``[N, K]`` of no listed option and ``holding [N, D]`` of the delta-one ones."""
    nothing = 0.0 * holding[:, 0]
    columns = [holding[:, j] for j in range(holding.shape[1])]
    return stack((*[nothing] * known.contract.options, *columns))


def baseline_kinds() -> dict[str, type[Baseline]]:
    """Every baseline by its name."""
    return {name: kind for name, kind in Baseline.kinds.items() if issubclass(kind, Baseline)}


def parse_baseline(text: str) -> Baseline:
    """A baseline from ``kind`` or ``kind:option=value,...``.

    Raises:
        ValueError: for an unknown kind or option, or an impossible value, in one line.
    """
    name, _, rest = text.partition(":")
    kinds = baseline_kinds()
    if name not in kinds:
        raise ValueError(f"unknown hedger {name!r}: {_nearest(name, list(kinds))}")
    kind = kinds[name]
    known = [field for field in kind.model_fields if field != "kind"]
    options: dict[str, Any] = {}
    for part in rest.split(",") if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"hedger {text!r}: {part!r} is not option=value")
        if key not in known:
            raise ValueError(f"hedger {text!r}: unknown option {key!r}: {_nearest(key, known)}")
        if key in options:
            raise ValueError(f"hedger {text!r}: {key} is given twice")
        words = get_args(kind.model_fields[key].annotation)
        if words and all(isinstance(word, str) for word in words):
            if value not in words:
                choose = ", ".join(words)
                raise ValueError(f"hedger {text!r}: {key}={value!r}: choose one of {choose}")
            options[key] = value
        else:
            options[key] = _number(text, key, value)
    return checked(kind, options, text)


def checked(kind: type[Baseline], options: dict[str, Any], name: str) -> Baseline:
    """A baseline of a kind from its options.

    Raises:
        ValueError: in one line that begins with the hedger's ``name``, for an impossible value.
    """
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"hedger {name!r}: {key}: {fault['msg'].lower()}") from None


def _nearest(name: str, known: Sequence[str]) -> str:
    if not known:
        return "it has none"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"


def _number(text: str, key: str, value: str) -> int | float:
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    raise ValueError(f"hedger {text!r}: {key}={value!r} is not a number")
