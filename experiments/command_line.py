"""The command line: the only place that prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..agents import agent_names, agent_settings
from ..baselines import baseline_kinds, parse_baseline
from ..envs import Hedger, Scenario, dump_scenario, load_scenario, preset_names
from ..envs.part import Kind
from .backtest import backtest
from .compare import Watch, compare, judge
from .evaluation import evaluate
from .price_history import from_file, sp500
from .report import write_report
from .runs import command, free_folder, load_run, train_run, write_json
from .terminal import evaluation_table, loud, progress_bar, say

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hedge options under costs and jumps, beside the classical hedges.",
)

ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A preset or a YAML file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, by key path.")
]
Seed = Annotated[int, typer.Option(min=0, help="All random numbers follow from it.")]
Paths = Annotated[int, typer.Option(min=2, help="Evaluation paths.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Hedgers = Annotated[
    list[str] | None, typer.Option("--hedger", help="A baseline (delta:every=5) or a run directory.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Environment steps of a training.")]
Plugin = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file with kinds of your own.")
]


@app.callback()
def _plugins(plugin: Plugin = None) -> None:
    for path in plugin or []:
        _import_file(path)


@app.command("list")
def list_(
    family: Annotated[str | None, typer.Argument(help="scenarios, hedgers, agents, ...")] = None,
    as_json: AsJson = False,
) -> None:
    """What there is: scenarios, hedgers, agents, and the kinds of every part."""
    found = _catalogue()
    if family is not None and family not in found:
        raise ValueError(f"unknown list {family!r}: choose one of {', '.join(found)}")
    chosen = found if family is None else {family: found[family]}
    if as_json:
        say(json.dumps(chosen if family is None else chosen[family], indent=1))
        return
    for name, entries in chosen.items():
        say(f"{name}:")
        width = max(map(len, entries), default=0)
        for entry, meaning in entries.items():
            say(f"  {entry:<{width}}  {meaning}".rstrip())


@app.command()
def show(scenario: ScenarioName, sets: Settings = None) -> None:
    """The whole scenario as YAML, which can be edited and passed back as a file."""
    say(dump_scenario(_scenario(scenario, sets)).rstrip())


@app.command()
def train(
    scenario: ScenarioName,
    agent: Annotated[str, typer.Option(help="The algorithm.")] = "ppo",
    seed: Seed = 0,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    paths: Paths = 100_000,
    sets: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Train an agent, save the run, evaluate it beside the baselines."""
    problem = _scenario(scenario, sets)
    settings = agent_settings(agent, **_steps(steps))
    folder = out or free_folder(Path("runs") / f"{problem.name}-{agent}-{seed}")
    with progress_bar(f"{problem.name}: {agent}", settings.steps) as telling:
        trained = train_run(folder, problem, settings, seed, progress=telling)
    with progress_bar("evaluating", paths) as telling:
        section = judge(problem, [trained], paths=paths, seed=seed, progress=telling)
    write_json(folder / "evaluation.json", section.evaluation.document())
    write_report(folder / "report.html", problem.name, [section], command())
    _print_evaluations([section.evaluation], as_json)
    loud(f"{folder}/report.html")


@app.command("evaluate")
def evaluate_(
    scenario: ScenarioName,
    hedger: Hedgers = None,
    paths: Paths = 100_000,
    seed: Seed = 0,
    sets: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate hedgers on the same fresh paths; none and delta are always among them."""
    problem, hedgers = _scenario(scenario, sets), _hedgers(hedger)
    with progress_bar("evaluating", paths) as telling:
        evaluation = evaluate(problem, hedgers, paths, seed, telling)
    _print_evaluations([evaluation], as_json)


@app.command("compare")
def compare_(
    scenario: Annotated[list[str], typer.Argument(metavar="SCENARIO...")],
    agent: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each agent.")] = 1,
    seed: Seed = 0,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the comparison.")] = None,
    paths: Paths = 100_000,
    sets: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Train agents, evaluate them beside the baselines, write the report."""
    problems = [_scenario(name, sets) for name in scenario]
    settings = [agent_settings(name, **_steps(steps)) for name in agent or ["ppo"]]
    folder = out or free_folder(Path("runs") / "-".join(problem.name for problem in problems))
    with _watch(settings[0].steps, paths) as watch:
        evaluations = compare(
            problems,
            settings,
            folder,
            seeds=range(seed, seed + seeds),
            paths=paths,
            evaluation_seed=seed,
            watch=watch,
        )
    _print_evaluations(evaluations, as_json)
    loud(f"{folder}/report.html")


@app.command("backtest")
def backtest_(
    hedger: Hedgers = None,
    data: Annotated[Path | None, typer.Option(help="CSV or Parquet: date, close, ...")] = None,
    scenario: Annotated[str, typer.Option(help="Position, costs, objective.")] = "sp500-call",
    days: Annotated[int, typer.Option(min=2, help="Calendar days of a contract.")] = 30,
    max_gap: Annotated[int, typer.Option(min=1, help="Calendar days without a price.")] = 7,
    sets: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Hedge a contract a month on real prices: the S&P 500 of the data extra, or your own."""
    problem, hedgers = _scenario(scenario, sets), _hedgers(hedger)
    history = sp500() if data is None else from_file(data, max_gap)
    result = backtest(problem, hedgers, history, days)
    if as_json:
        say(json.dumps(result.document(), indent=1))
        return
    say(f"{result.history}: {len(result.starts)} months, {result.starts[0]} to {result.starts[-1]}")
    say(evaluation_table(result.all, f"all {result.all.paths} months"))
    for source, part in result.by_source.items():
        say(evaluation_table(part, f"{part.paths} months marked at: {source}"))


def main() -> None:
    """Run a command; exit 0, 1 when the work failed, 2 with one line for bad input."""
    try:
        app(standalone_mode=False)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (ValueError, TypeError, ImportError) as error:
        loud(f"error: {' '.join(str(error).split())}")
        sys.exit(2)
    except KeyboardInterrupt:
        loud("interrupted")
        sys.exit(1)
    except OSError as error:
        loud(f"error: {error}")
        sys.exit(1)
    except Exception as error:
        _leave(error)


def _leave(error: Exception) -> None:
    """A usage error of the command line itself is bad input; anything else failed."""
    shown = getattr(error, "format_message", None)
    if shown is not None:
        loud(f"error: {' '.join(shown().split())}")
        sys.exit(2)
    loud(f"error: the work failed: {type(error).__name__}: {' '.join(str(error).split())}")
    sys.exit(1)


def _scenario(name: str, sets: Sequence[str] | None) -> Scenario:
    overrides = {}
    for item in sets or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set {item!r}: give key.path=value")
        overrides[key] = value
    return load_scenario(name, overrides)


def _hedgers(names: Sequence[str] | None) -> list[Hedger]:
    chosen = names or list(baseline_kinds())
    return [load_run(Path(n)) if Path(n).is_dir() else parse_baseline(n) for n in chosen]


def _steps(steps: int | None) -> dict[str, Any]:
    return {} if steps is None else {"steps": steps}


def _catalogue() -> dict[str, dict[str, str]]:
    def first_line(thing: Any) -> str:
        return (thing.__doc__ or "").strip().partition("\n")[0]

    families = {f"{family.__name__.lower()}s": family for family in Kind.__subclasses__()}
    kinds = {
        name: {kind: first_line(cls) for kind, cls in family.kinds.items()}
        for name, family in families.items()
        if name != "baselines"
    }
    return {
        "scenarios": {name: load_scenario(name).description for name in preset_names()},
        "hedgers": {name: first_line(cls) for name, cls in baseline_kinds().items()},
        "agents": {name: "" for name in agent_names()},
        **kinds,
    }


def _import_file(path: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"--plugin {path}: give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def _print_evaluations(evaluations: Sequence[Any], as_json: bool) -> None:
    if as_json:
        documents = [evaluation.document() for evaluation in evaluations]
        say(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1))
        return
    for evaluation in evaluations:
        say(evaluation_table(evaluation, f"{evaluation.scenario.name}, {evaluation.paths:,} paths"))


@contextmanager
def _watch(steps: int, paths: int) -> Iterator[Watch]:
    """Progress bars one after the other: each closes when the next begins."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def bar(total: int) -> Callable[[str], Any]:
            def begin(title: str) -> Any:
                stack.pop_all().close()
                return stack.enter_context(progress_bar(title, total))

            return begin

        yield Watch(training=bar(steps), evaluation=bar(paths))
