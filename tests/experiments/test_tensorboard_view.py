"""What TensorBoard itself makes of a run: one line of hparams, charts that find their curves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)

from deephedge.agents import AgentSettings, agent_names, agent_settings
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments.runs import finished_run as read_run
from deephedge.experiments.tensorboard_view import FIRST, LAYOUT, hparams


@pytest.fixture(scope="module")
def events(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two runs beside each other, as TensorBoard has read them."""
    logs = tmp_path_factory.mktemp("logs")
    for name in ("one", "two"):
        shutil.copytree(finished_run / "tb", logs / name / "tb")
    found = plugin_event_multiplexer.EventMultiplexer()
    found.AddRunsFromDirectory(str(logs))
    found.Reload()
    return found


def asked(events: Any, handler: Any, request: Any) -> Any:
    provider = data_provider.MultiplexerDataProvider(events, "logs")
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    return handler(RequestContext(), context, "", request).run()


def test_the_tab_compares_final_risk_and_gap_closed(events: Any, finished_run: Path) -> None:
    experiment = asked(events, get_experiment.Handler, api_pb2.GetExperimentRequest())
    columns = [info.name for info in experiment.hparam_infos]
    assert tuple(columns[:5]) == FIRST  # all that is shown until more is asked for
    shown = {info.name.tag: info.display_name for info in experiment.metric_infos}
    assert shown == {"hedge/best_risk": "final risk", "hedge/gap_closed": "gap closed"}
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=10,
        allowed_statuses=[api_pb2.STATUS_UNKNOWN],
        col_params=[
            api_pb2.ColParams(metric=api_pb2.MetricName(tag=tag, group="")) for tag in shown
        ],
    )
    answer = asked(events, list_session_groups.Handler, request)
    (group,) = answer.session_groups  # the same training twice: one line
    assert {session.name for session in group.sessions} == {"one/tb", "two/tb"}
    told = {name: value.WhichOneof("kind") for name, value in group.hparams.items()}
    assert told["seed"] == "number_value" and told["algorithm"] == "string_value"
    assert group.hparams["seed"].number_value == 4
    values = {value.name.tag: value.value for value in group.metric_values}
    assert values["hedge/best_risk"] == pytest.approx(read_run(finished_run).risk, rel=1e-6)
    assert values["hedge/gap_closed"] <= 1.0


def test_nothing_is_written_as_a_run_of_its_own(events: Any) -> None:
    assert set(events.Runs()) == {"one/tb", "two/tb"}


def test_every_chart_finds_its_curves(events: Any) -> None:
    curves = events.Runs()["one/tb"]["tensors"]
    event = events.Tensors("one/tb", "custom_scalars__config__")[0]
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == list(LAYOUT)
    for category in layout.category:
        for chart in category.chart:
            for tag in chart.multiline.tag:
                found = [name for name in curves if re.match(tag, name)]
                assert found, f"{chart.title}: {tag}"
                assert len(found) == 1 or "loss" in tag, found


def test_every_algorithm_has_the_same_columns() -> None:
    scenario: Scenario = load_scenario("short-call")
    kinds = set()
    for name in agent_names():
        found = hparams(scenario, agent_settings(name), 0)
        kinds.add(tuple((key, isinstance(value, str)) for key, value in found.items()))
    assert len(kinds) == 1
    patient = hparams(scenario, agent_settings("ppo", patience=3), 0)
    assert patient["patience"] == "3"
    assert hparams(scenario, agent_settings("ppo"), 0)["patience"] == "none"


def test_settings_are_told_apart(tiny: Callable[..., AgentSettings]) -> None:
    scenario = load_scenario("short-call")
    one, two = (hparams(scenario, tiny(net=net), 0) for net in ([8], [8, 8]))
    assert {key for key in one if one[key] != two[key]} == {"net"}
