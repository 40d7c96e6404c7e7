"""Bootstrap and replay: what is drawn from a history, its drift, and every fault of a file."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from deephedge.envs.markets import Market, MarketPaths
from deephedge.envs.markets.bootstrap import Bootstrap
from deephedge.envs.markets.history import Recording
from deephedge.envs.markets.replay import Replay

PATHS = 40_000
ALPHA = 1e-5
SIGMAS = 4.0

Floats = NDArray[np.float64]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def days(steps: int) -> Tensor:
    return torch.arange(steps + 1, dtype=torch.float64)[:, None] / 252


def z_scores(samples: Floats, expected: Any) -> Floats:
    """How many standard errors the means over the last axis lie from the expectation."""
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / error


def recorded(rows: int = 61, memory: float = 0.6, seed: int = 1) -> Floats:
    """Spots and vols [rows, 2] with returns that remember, so that blocks matter."""
    rng = np.random.default_rng(seed)
    returns = np.zeros(rows)
    for t in range(1, rows):
        returns[t] = memory * returns[t - 1] + rng.normal(0.004, 0.02)
    return np.stack([50 * np.exp(returns.cumsum()), rng.uniform(0.1, 0.4, rows)], axis=1)


HISTORY = recorded()
RETURNS = np.diff(np.log(HISTORY[:, 0]))


def rows_taken(paths: MarketPaths, history: Floats = HISTORY) -> NDArray[np.int64]:
    """Which recorded day each date is, told by the day's vol, [T+1, N]."""
    order = history[:, 1].argsort()
    at = np.searchsorted(history[order, 1], paths.implied_vol.numpy() - 1e-9)
    return order[at]


# Bootstrap --------------------------------------------------------------------------------------


def test_every_step_is_a_recorded_one_with_the_vol_of_its_day() -> None:
    market = Bootstrap(spot=80.0, history=HISTORY, block=5.0, demean=False)
    paths = market.simulate(days(40), 5000, generator(1))
    rows = rows_taken(paths)
    np.testing.assert_allclose(paths.spot[0], 80.0)
    moves = paths.log_spot.diff(dim=0).numpy()
    np.testing.assert_allclose(moves, RETURNS[rows[1:] - 1], atol=1e-12)
    # The quote at the start is the one from which the first return was made.
    assert (rows[1] == rows[0] + 1).all()


@pytest.mark.parametrize("block", [1.0, 4.0, 20.0])
def test_blocks_have_random_places_and_geometric_lengths(block: float) -> None:
    market = Bootstrap(history=HISTORY, block=block)
    count = len(RETURNS)
    taken = rows_taken(market.simulate(days(60), 5000, generator(2)))[1:] - 1
    for row in taken[:: len(taken) - 1]:  # stationary: every row alike on the first and last day
        assert stats.chisquare(np.bincount(row, minlength=count)).pvalue > ALPHA
    goes_on = taken[1:] == (taken[:-1] + 1) % count
    share = 1 - 1 / block + 1 / block / count  # a new block may happen to begin at the next row
    assert stats.binomtest(int(goes_on.sum()), goes_on.size, share).pvalue > ALPHA
    # Whether a block goes on does not depend on its age, nor on where it is.
    ages = goes_on[1:][goes_on[:-1]], goes_on[1:][~goes_on[:-1]]
    for kind in ages:
        assert abs(kind.mean() - share) < SIGMAS * (share * (1 - share) / max(kind.size, 1)) ** 0.5
    wraps = goes_on[taken[:-1] == count - 1]
    assert abs(wraps.mean() - share) < SIGMAS * (share * (1 - share) / wraps.size) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("block", [1.0, 10.0])
def test_the_expected_spot_grows_at_the_drift(block: float, dtype: torch.dtype) -> None:
    market = Bootstrap(history=HISTORY, block=block, drift=0.3)
    times = days(63)
    paths = market.simulate(times, PATHS, generator(3), dtype)
    assert paths.spot.dtype == paths.implied_vol.dtype == dtype
    relative = paths.spot.double() * torch.exp(-0.3 * times) / 100
    assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS


def test_the_drift_taken_off_is_exact() -> None:
    """Every way through a history of three returns, with its chance: the mean growth is 1."""
    history = np.array([10.0, 11.0, 10.2, 12.0])
    market = Bootstrap(spot=1.0, history=history, block=2.5)
    offset = market._offset(5)
    returns = np.diff(np.log(history))
    for steps in range(1, 6):
        mean = 0.0
        for way in itertools.product(range(3), repeat=steps):
            chance = 1 / 3
            for before, after in itertools.pairwise(way):
                chance *= 0.4 / 3 + 0.6 * (after == (before + 1) % 3)
            mean += chance * math.exp(returns[list(way)].sum() + offset[steps])
        assert mean == pytest.approx(1.0, rel=1e-13)
    alone = Bootstrap(spot=1.0, history=history, block=1.0)._offset(5)
    np.testing.assert_allclose(np.diff(alone), -math.log(np.exp(returns).mean()), rtol=1e-12)


def test_long_blocks_keep_the_memory_of_the_history() -> None:
    def variance_ratio(block: float) -> float:
        market = Bootstrap(history=HISTORY, block=block)
        log_spot = market.simulate(days(10), PATHS, generator(4)).log_spot
        return float(log_spot[-1].var() / log_spot[1].var() / 10)

    assert variance_ratio(1.0) == pytest.approx(1.0, abs=0.05)
    # Cov of returns k apart under the bootstrap: (1 - 1 / block)^k times the circular one.
    x = RETURNS - RETURNS.mean()
    circular = [float((x * np.roll(x, -k)).mean()) for k in range(10)]
    expected = 1 + 2 * sum(
        (1 - k / 10) * (1 - 1 / 15) ** k * circular[k] / circular[0] for k in range(1, 10)
    )
    assert expected > 1.5
    assert variance_ratio(15.0) == pytest.approx(expected, rel=4 * (2 / PATHS) ** 0.5 * 1.5)


def test_without_quotes_the_vol_is_the_realised_one() -> None:
    market = Bootstrap(history=HISTORY[:, 0])
    vol = RETURNS.std() * 252**0.5
    assert market.volatility == pytest.approx(vol)
    assert float(market.simulate(days(3), 5, generator()).implied_vol) == pytest.approx(vol)
    assert Bootstrap(history=HISTORY, period=1 / 52).volatility == pytest.approx(
        RETURNS.std() * 52**0.5
    )


def test_a_history_in_a_file_is_the_same_as_in_an_array(tmp_path: Path) -> None:
    lines = [f"2020-01-{day + 1},{spot},,{vol}" for day, (spot, vol) in enumerate(HISTORY)]
    text = "\n".join(["Date, Spot,note,VOL", *lines, ""])
    (tmp_path / "h.csv").write_text(text)
    filed, given = Bootstrap(file=str(tmp_path / "h.csv")), Bootstrap(history=HISTORY)
    one, other = (m.simulate(days(9), 20, generator(5)) for m in (filed, given))
    assert torch.equal(one.spot, other.spot)
    assert torch.equal(one.implied_vol, other.implied_vol)
    assert Bootstrap.model_validate_json(filed.model_dump_json()) == filed


# Replay -----------------------------------------------------------------------------------------


def replayed(dates: int = 6, count: int = 11) -> tuple[Floats, Floats]:
    """Spots that start apart, and vols, [dates, count]."""
    rng = np.random.default_rng(2)
    spots = np.exp(rng.normal(0, 0.02, (dates, count)).cumsum(axis=0)) * rng.uniform(50, 90, count)
    return spots, rng.uniform(0.1, 0.4, (dates, count))


SPOTS, VOLS = replayed()


def test_sequential_order_gives_the_first_paths_once() -> None:
    market = Replay(paths=SPOTS, vols=VOLS, order="sequential", rescale=False)
    paths = market.simulate(days(5), 8, generator(1))
    np.testing.assert_allclose(paths.spot, SPOTS[:, :8], rtol=1e-14)
    np.testing.assert_array_equal(paths.implied_vol, VOLS[:, :8])
    paths.log_spot.add_(1.0)  # whoever receives them owns them
    np.testing.assert_allclose(market.simulate(days(5), 8, generator(1)).spot, SPOTS[:, :8])
    with pytest.raises(ValueError, match="12 paths in sequential order and 11 are recorded"):
        market.simulate(days(5), 12, generator())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_random_order_draws_all_paths_alike(dtype: torch.dtype) -> None:
    market = Replay(spot=40.0, paths=SPOTS, vols=VOLS)
    paths = market.simulate(days(5), PATHS, generator(2), dtype)
    assert paths.spot.dtype == paths.implied_vol.dtype == dtype
    distance = np.abs(paths.implied_vol[0].double().numpy()[:, None] - VOLS[0])
    which = distance.argmin(axis=1)
    assert stats.chisquare(np.bincount(which, minlength=11)).pvalue > ALPHA
    rtol = 1e-13 if dtype == torch.float64 else 2e-6
    np.testing.assert_allclose(paths.spot, (40 * SPOTS / SPOTS[0])[:, which], rtol=rtol)
    np.testing.assert_allclose(paths.implied_vol, VOLS[:, which], rtol=rtol)


def test_the_realised_vol_is_quoted_where_none_is_recorded() -> None:
    vol = np.diff(np.log(SPOTS), axis=0).std() * 252**0.5
    market = Replay(paths=SPOTS)
    assert market.volatility == pytest.approx(vol)
    assert float(market.simulate(days(5), 4, generator()).implied_vol) == pytest.approx(vol)


def test_the_calendar_must_have_the_recorded_dates() -> None:
    with pytest.raises(ValueError, match=r"6 dates .* calendar has 8: set calendar.steps to 5"):
        Replay(paths=SPOTS).simulate(days(7), 3, generator())


@pytest.mark.parametrize("header", ["", "date,a,b\n", "a,b\n"])
def test_a_csv_holds_one_path_a_column(tmp_path: Path, header: str) -> None:
    dated = header.startswith("date")
    lines = [("2020-01-01," if dated else "") + f"{a},{b}" for a, b in SPOTS[:, :2]]
    (tmp_path / "p.csv").write_text(header + "\n".join(lines))
    market = Replay(file=str(tmp_path / "p.csv"), order="sequential", rescale=False)
    np.testing.assert_allclose(market.simulate(days(5), 2, generator()).spot, SPOTS[:, :2])


def test_arrays_and_parquet_hold_the_same_as_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    np.save(tmp_path / "vols.npy", VOLS)
    pandas.DataFrame(SPOTS, columns=[f"p{i}" for i in range(11)]).to_parquet(tmp_path / "s.parquet")
    filed = Replay(file=str(tmp_path / "s.parquet"), vol_file=str(tmp_path / "vols.npy"))
    given = Replay(paths=SPOTS, vols=VOLS)
    one, other = (m.simulate(days(5), 30, generator(3)) for m in (filed, given))
    assert torch.equal(one.spot, other.spot)
    assert torch.equal(one.implied_vol, other.implied_vol)
    assert Replay.model_validate_json(filed.model_dump_json()) == filed


def test_a_file_is_read_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deephedge.envs.markets import replay

    reads: list[Path] = []
    load = replay.read_array

    def counted(path: Path) -> Floats:
        reads.append(path)
        return load(path)

    monkeypatch.setattr(replay, "read_array", counted)
    file = tmp_path / "s.npy"
    np.save(file, SPOTS)
    market = Replay(file=str(file), order="sequential", rescale=False)
    for seed in range(3):
        market.simulate(days(5), 2, generator(seed))
    assert len(reads) == 1
    np.save(file, 2 * SPOTS)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    spot = market.simulate(days(5), 2, generator()).spot
    np.testing.assert_allclose(spot, 2 * SPOTS[:, :2])
    assert len(reads) == 2


# Both -------------------------------------------------------------------------------------------

BOTH: dict[str, Market] = {
    "bootstrap": Bootstrap(history=HISTORY, block=3.0),
    "replay": Replay(paths=SPOTS, vols=VOLS),
}
each_market = pytest.mark.parametrize("market", BOTH.values(), ids=list(BOTH))


@each_market
def test_a_history_foresees_nothing_and_has_no_pricing_measure(market: Market) -> None:
    assert not market.foresees
    assert market.simulate(days(5), 2, generator()).expected is None
    with pytest.raises(TypeError, match="no pricing measure"):
        market.risk_neutral()


@each_market
def test_steps_that_are_not_the_rows_are_refused(market: Market) -> None:
    for scale in (1 / 24, 7.0):
        with pytest.raises(ValueError, match=r"every market step takes one row"):
            market.simulate(days(5) * scale, 2, generator())
    market.simulate(days(5) * 252 / 365, 2, generator())


@each_market
def test_paths_are_a_function_of_the_generator_alone(market: Market) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (market.simulate(days(5), 50, generator(s)).spot for s in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_market
def test_arrays_are_equal_by_their_numbers_and_cannot_be_saved(market: Market) -> None:
    same = market.model_copy()
    assert same == market
    assert hash(same) == hash(market)
    with pytest.raises(Exception, match=r"serialize unknown type.*Recording"):
        market.model_dump_json()
    json.dumps(type(market).model_json_schema())


def test_a_recording_is_a_copy_that_stays_as_it_is() -> None:
    given = SPOTS.copy()
    recording = Recording(given)
    given[0] = 1.0
    assert recording == Recording(SPOTS)
    assert recording != Recording(given)
    with pytest.raises(ValueError, match="read-only"):
        recording.values[0] = 1.0


def changed(values: Floats, row: int, column: int, value: float) -> Floats:
    result = values.copy()
    result[row, column] = value
    return result


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Bootstrap(), "0 of file and history are given"),
        (lambda: Bootstrap(file="x.csv", history=HISTORY), "2 of file and history are given"),
        (lambda: Bootstrap(history=HISTORY, block=0.5), "block"),
        (
            lambda: Bootstrap(history=HISTORY, drift=0.1, demean=False),
            "on top of the history's own",
        ),
        (lambda: Bootstrap(history=HISTORY[:2]), "has 2 rows: give at least 3"),
        (lambda: Bootstrap(history=np.ones(9)), "never moves"),
        (lambda: Bootstrap(history=np.ones((4, 3))), r"shape \(4, 3\): give spots"),
        (lambda: Bootstrap(history=["a"]), "not an array of numbers"),
        (
            lambda: Bootstrap(history=changed(HISTORY, 3, 0, math.nan)),
            "history, row 4.*: nan is not",
        ),
        (lambda: Bootstrap(history=changed(HISTORY, 3, 1, 0.0)), "row 4.*: 0 is not"),
        (lambda: Bootstrap(history=changed(HISTORY, 3, 1, 20.0)), "vol 20 .* divide it by 100"),
        (lambda: Replay(), "0 of file and paths are given"),
        (lambda: Replay(paths=SPOTS, vols=VOLS, vol_file="x.npy"), "2 of vol_file and vols"),
        (lambda: Replay(paths=SPOTS, drift=0.1), "recorded paths keep theirs"),
        (lambda: Replay(paths=SPOTS, vols=VOLS[:-1]), r"vols of shape \(5, 11\)"),
        (lambda: Replay(paths=SPOTS[0]), r"shape \(11,\): give a row"),
        (lambda: Replay(paths=changed(SPOTS, 2, 4, -1.0)), "paths, row 3, column 5: -1 is not"),
        (lambda: Replay(paths=changed(SPOTS, 2, 4, math.inf)), "row 3, column 5: inf is not"),
        (lambda: Replay(paths=SPOTS, vols=100 * VOLS), "divide it by 100"),
        (lambda: Replay(paths=SPOTS, order="backwards"), "order"),
    ],
)
def test_impossible_histories_are_refused(build: Callable[[], Market], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.csv", None, "there is no such file"),
        ("h.txt", "spot\n1\n2\n3\n", r"must end in \.csv or \.parquet"),
        ("h.csv", "", "is empty"),
        ("h.csv", "close\n1\n2\n3\n", "no column 'spot' among close"),
        ("h.csv", "1\n2\n3\n", "no column 'spot' among column 1"),
        ("h.csv", "spot,SPOT\n1,1\n2,2\n3,3\n", "two columns 'spot'"),
        ("h.csv", "spot,vol\n1,1\n2\n3,3\n", "line 3: 1 cells where the first line has 2"),
        ("h.csv", "spot\n1\ntwo\n3\n", "column 'spot', row 2: 'two' is not a number"),
        ("h.csv", "spot,vol\n1,0.2\n2,\n3,0.2\n", "column 'vol', row 2: '' is not a number"),
        ("h.csv", "spot\n1\nnan\n3\n", "row 2.*: nan is not a finite number above 0"),
        ("h.csv", "spot\n", "has 0 rows"),
        ("h.csv", b"\xff\xfe\x00spot", "cannot be read"),
        ("h.parquet", "spot\n1\n", "cannot be read"),
    ],
)
def test_every_fault_of_a_history_file_is_one_message(
    tmp_path: Path, name: str, text: str | bytes | None, message: str
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    if text is not None:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValidationError, match=message):
        Bootstrap(file=str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "date\n2020-01-01\n2020-01-02\n", "no column of prices"),
        ("p.csv", "1,2\n3,-4\n", r"p\.csv, row 2, column 2: -4 is not"),
        ("p.csv", "1,2\n", "give a row for each of at least 2 dates"),
        ("p.npy", "no array", "is not an array of numbers"),
    ],
)
def test_every_fault_of_a_file_of_paths_is_one_message(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValidationError, match=message):
        Replay(file=str(tmp_path / name))


def test_parquet_without_its_extra_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "h.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"deephedge\[data\]"):
        Bootstrap(file=str(tmp_path / "h.parquet"))
