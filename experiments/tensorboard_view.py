"""What TensorBoard shows of a run beside its curves: the hedging charts, and a line of hparams."""

from __future__ import annotations

import json
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from ..agents import AgentSettings
from ..envs import Scenario

# Charts of the tab CUSTOM SCALARS; a tag is a regular expression that begins where the tag does.
LAYOUT = {
    "Hedging, on validation paths": {
        "risk now and lowest so far, money": ["Multiline", ["hedge/risk$", "hedge/best_risk$"]],
        "risk less delta's, money (below 0 beats delta)": [
            "Multiline",
            ["hedge/risk_minus_delta$"],
        ],
        "gap closed from delta to the optimum, 1 is all": ["Multiline", ["hedge/gap_closed$"]],
        "CVaR 95, money": ["Multiline", ["hedge/cvar_95$"]],
        "P&L: mean and std, money": ["Multiline", ["hedge/mean$", "hedge/std$"]],
        "cost of a path, money": ["Multiline", ["hedge/cost$"]],
        "trades of a path": ["Multiline", ["hedge/trades$"]],
        "turnover of a path, spots": ["Multiline", ["hedge/turnover$"]],
    },
    "Learning": {
        "reward of a training episode": ["Multiline", ["rollout/ep_rew_mean$"]],
        "losses": ["Multiline", [r"train/(\w+_)?loss$"]],
        "share of actions at the bounds": ["Multiline", ["hedge/action_saturation$"]],
        "how far an update moved the policy (PPO)": ["Multiline", ["train/approx_kl$"]],
        "share of the returns' variance that is foreseen": [
            "Multiline",
            ["train/explained_variance$"],
        ],
        "steps a second": ["Multiline", ["time/fps$"]],
    },
}
# Of the hparams the first five columns are shown until more are asked for: these.
FIRST = ("algorithm", "learning_rate", "scenario", "seed", "steps")
# The last values of these curves stand beside the hparams.
METRICS = {"hedge/best_risk": "final risk", "hedge/gap_closed": "gap closed"}

HParams = dict[str, float | str]


def hparams(scenario: Scenario, settings: AgentSettings, seed: int) -> HParams:
    """What tells one training from another, the same keys for every algorithm.

    Numbers where a setting is always a number; everything else is text.
    """
    tree = settings.model_dump(mode="json")
    found: HParams = {"scenario": scenario.name, "seed": seed}
    for name, field in type(settings).model_fields.items():
        value = tree[name]
        plain = field.annotation in (int, float, str)
        found[name] = value if plain else _text(value)
    return found


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def hparams_summaries(found: HParams, trial: str) -> list[Summary]:
    """For a run's own event file: its hparams, called ``trial``, and which metrics stand with them.

    SummaryWriter.add_hparams would write them as a run of their own. Every run says the same of
    columns and metrics, as TensorBoard takes the word of whichever it finds first.
    """
    infos = [
        api_pb2.HParamInfo(
            name=name,
            differs=name in FIRST,  # what differs is shown first
            type=(
                api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64
            ),
        )
        for name, value in found.items()
    ]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
        for tag, title in METRICS.items()
    ]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    data = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    columns = Summary()
    columns.value.add(
        tag=metadata.EXPERIMENT_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return [columns, hparams_pb(found, trial_id=trial)]
