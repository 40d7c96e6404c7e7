"""How fast deep hedging trains, beside pfhedge's ``Hedger.fit``, each in a process of its own.

    .venv/bin/python benchmarks/deep_hedging.py [--json benchmarks/results/deep_hedging.json]

A short call of 30 daily dates at 20 bp, entropic risk, float32 on a CPU, two hidden layers of 32 on
the same inputs, no validation within the epochs. Two forms: the network's output as the holding,
with the holding as an input, and a no-transaction band about delta whose network does not see it.
Each is measured as it comes (pfhedge on torch's own number of threads, deephedge on those of its
settings) and on one thread. The two libraries take turns, so that both meet the same machine; a
figure is the median of the best time of every turn. `--peer-python` takes an interpreter that has
pfhedge already.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile

from pfhedge import PEER, install, machine, options_of, run, versions

BATCHES = (1000, 4096)  # pfhedge's default and deephedge's
FORMS = ("holding", "band")
STEPS = 30
TIMING = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
REPEATS, BATCHES, FORMS = int(sys.argv[1]), (1000, 4096), ("holding", "band")
def measure(epoch):
    for _ in range(3):
        epoch()
    least = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        epoch()
        least = min(least, time.perf_counter() - start)
    return least
"""
PEER_MODEL = """
from pfhedge.instruments import BrownianStock, EuropeanOption
from pfhedge.nn import BlackScholes, Clamp, EntropicRiskMeasure, Hedger, MultiLayerPerceptron
class Band(torch.nn.Module):  # the no-transaction band of pfhedge's README, two layers of 32
    def __init__(self, derivative):
        super().__init__()
        self.delta, self.clamp = BlackScholes(derivative), Clamp()
        self.mlp = MultiLayerPerceptron(out_features=2, n_layers=2, n_units=32)
    def inputs(self):
        return self.delta.inputs() + ["prev_hedge"]
    def forward(self, x):
        width = torch.nn.functional.leaky_relu(self.mlp(x[..., :-1]))
        delta = self.delta(x[..., :-1])
        return self.clamp(x[..., [-1]], delta - width[..., [0]], delta + width[..., [1]])
def peer(form):
    stock = BrownianStock(sigma=0.2, cost=0.002, dt=1 / 365)
    call = EuropeanOption(stock, maturity=30 / 365)
    if form == "band":
        model = Band(call)
        inputs = model.inputs()
    else:
        model = MultiLayerPerceptron(n_layers=2, n_units=32)
        inputs = ["log_moneyness", "expiry_time", "volatility", "prev_hedge"]
    return call, Hedger(model, inputs, criterion=EntropicRiskMeasure(a=10.0))
"""
PEER_CODE = (
    TIMING
    + PEER_MODEL
    + """
def epoch_of(form, batch):
    call, hedger = peer(form)
    keys = dict(n_paths=batch, verbose=False, validation=False)
    hedger.fit(call, n_epochs=1, **keys)
    optimizer = torch.optim.Adam(hedger.parameters())
    return lambda: hedger.fit(call, n_epochs=1, optimizer=optimizer, **keys)
print(json.dumps({f"{f} {b}": measure(epoch_of(f, b)) for f in FORMS for b in BATCHES}))
"""
)
OWN_CODE = (
    TIMING
    + """
from deephedge.agents import DeepHedging, agent_settings, as_sb3_env
from deephedge.agents.threads import torch_threads
from deephedge.envs import View, load_scenario
from deephedge.envs.action import BandAction, TargetAction
from stable_baselines3.common.logger import Logger
VIEWS = {
    "holding": View(features=("moneyness", "time_left", "vol", "holding"), action=TargetAction()),
    "band": View(features=("moneyness", "time_left", "vol"), action=BandAction()),
}
def epoch_of(form, batch):
    env = as_sb3_env(load_scenario("short-call"), batch, VIEWS[form])
    model = DeepHedging("MlpPolicy", env)
    model.set_logger(Logger(None, []))
    return lambda: model.learn(30 * batch, reset_num_timesteps=False)
with torch_threads(agent_settings("deep-hedging").threads):
    print(json.dumps({f"{f} {b}": measure(epoch_of(f, b)) for f in FORMS for b in BATCHES}))
"""
)
# pfhedge's stock starts at 1 and deephedge's at 100: P&L times 100, aversion 0.1 for 10.
PEER_FIT = (
    TIMING
    + PEER_MODEL
    + """
torch.manual_seed(0)
seconds, risks = {}, {}
for form in FORMS:
    call, hedger = peer(form)
    start = time.perf_counter()
    hedger.fit(call, verbose=False)
    seconds[form] = time.perf_counter() - start
    with torch.no_grad():
        call.simulate(n_paths=100_000)
        losses = -100 * hedger.compute_pl(call).double()
    found = torch.logsumexp(0.1 * losses, 0) - torch.log(torch.tensor(float(len(losses))))
    risks[form] = float(found / 0.1)
print(json.dumps({"seconds": seconds, "risks": risks}))
"""
)
OWN_FIT = (
    TIMING
    + """
from deephedge.agents import agent_settings, train_agent
from deephedge.agents.settings import AgentSettings
from deephedge.envs import load_scenario, rollout, simulate
FAIR = 2.2871  # the call without costs: pfhedge receives no premium
target = float(sys.argv[2]) - FAIR
scenario = load_scenario("short-call")
reached = []
start = time.perf_counter()
class Reached(Exception):
    pass
def watch(steps, risk):
    if risk <= target:
        reached.append((steps, time.perf_counter() - start))
        raise Reached
settings = agent_settings("deep-hedging", steps=2_000_000, validation=1)
try:
    train_agent(scenario, settings, progress=watch)
except Reached:
    pass
print(json.dumps({"steps": reached[0][0], "seconds": reached[0][1]} if reached else {}))
"""
)


def compare(peer: str, threads: int, turns: int, repeats: int) -> list[dict[str, object]]:
    """Path-steps per second of both by form and batch; the medians over the turns."""
    own_turns, peer_turns = [], []
    for _ in range(turns):
        own_turns.append(run(sys.executable, OWN_CODE, threads, repeats))
        peer_turns.append(run(peer, PEER_CODE, threads, repeats))
    figures: list[dict[str, object]] = []
    for form in FORMS:
        for batch in BATCHES:
            name = f"{form} {batch}"
            ratios = [p[name] / o[name] for o, p in zip(own_turns, peer_turns, strict=True)]
            own, other = (
                STEPS * batch / statistics.median(turn[name] for turn in taken)
                for taken in (own_turns, peer_turns)
            )
            figures.append(
                {
                    "form": form,
                    "batch": batch,
                    "threads_of_the_process": threads,
                    "deephedge_path_steps_per_second": round(own),
                    "pfhedge_path_steps_per_second": round(other),
                    "ratio": round(statistics.median(ratios), 3),
                    "ratios": [round(ratio, 3) for ratio in ratios],
                    "must": 1.5,
                    "aim": 3.0,
                }
            )
    return figures


def time_to_risk(peer: str) -> dict[str, object]:
    """What pfhedge's default fit comes to, and when deephedge's default training is there."""
    found = run(peer, PEER_FIT, 1, 1)
    results: dict[str, object] = {}
    for form in FORMS:
        risk, seconds = (found[key][form] for key in ("risks", "seconds"))  # type: ignore[index]
        own = run(sys.executable, OWN_FIT, 1, 1, str(risk))
        results[form] = {
            "pfhedge_risk_without_premium": risk,
            "pfhedge_seconds": seconds,
            "deephedge": own or "not within 2,000,000 path-steps",
        }
    return results


def table(figures: list[dict[str, object]]) -> str:
    lines = [f"{'form':<10}{'batch':>6}{'threads':>9}{'deephedge':>14}{'pfhedge':>14}{'ratio':>8}"]
    for f in figures:
        own, peer = (
            f"{float(str(f[k + '_path_steps_per_second'])) / 1e6:.2f} M/s"
            for k in ("deephedge", "pfhedge")
        )
        lines.append(
            f"{f['form']:<10}{f['batch']:>6}{f['threads_of_the_process']:>9}{own:>14}{peer:>14}{f['ratio']:>8}"
        )
    return "\n".join(lines)


def main() -> None:
    options = options_of(__doc__, repeats=40)
    with tempfile.TemporaryDirectory() as folder:
        peer = options.peer_python or install(folder)
        figures = [
            figure
            for threads in (2, 1)
            for figure in compare(peer, threads, options.turns, options.repeats)
        ]
        print(table(figures), flush=True)
        reached = time_to_risk(peer)
        peer_versions = versions(peer)
    print(json.dumps(reached, indent=1))
    if options.json is not None:
        document = {
            "command": "benchmarks/deep_hedging.py " + " ".join(sys.argv[1:]),
            "machine": machine(),
            "deephedge": versions(sys.executable),
            PEER: peer_versions,
            "training_throughput": figures,
            "time_to_the_risk_of_the_default_fit": reached,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
