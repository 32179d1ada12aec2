"""Chrono initialization: biases whose time scales are uniform, see Tallec & Ollivier (2018)."""

import pytest
import torch

from reviver.data.tasks.build import build_task
from reviver.lstm.initialization import chrono
from reviver.lstm.layer import LSTM
from reviver.settings.lstm import LSTMConfig
from reviver.train.lstm.training import build_network


def test_it_spreads_the_time_scales_uniformly() -> None:
    lstm = LSTM(3, 4000, num_layers=1)
    weights = {name: value.clone() for name, value in lstm.gate_weights()._asdict().items() if value is not None}
    chrono(lstm, 1000, torch.Generator().manual_seed(0))
    after = lstm.gate_weights()._asdict()
    assert sorted(name for name in weights if not torch.equal(weights[name], after[name])) == ["b_f", "b_i"]
    assert torch.equal(after["b_i"], -after["b_f"])
    time_scales = after["b_f"].detach().exp()
    assert 1 <= time_scales.min() <= time_scales.max() <= 999.01
    assert (torch.histc(time_scales, 4, 1, 999) / 4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)


def test_it_sets_every_layer_and_direction_and_allows_the_minimum_length() -> None:
    lstm = LSTM(3, 5, num_layers=2, bidirectional=True)
    chrono(lstm, 2, torch.Generator())
    weights = [stacked.by_gate() for stacked in lstm.all_stacked_weights()]
    biases = [bias for w in weights for bias in (w.b_f, w.b_i)]
    assert len(biases) == 8
    assert not any(bias.any() for bias in biases), "log U(1, 1) is 0"


def test_a_run_samples_the_biases_after_the_weights() -> None:
    config, chrono_config = (
        LSTMConfig(task="copy", length=6, hidden_size=8, init=init) for init in ("report", "chrono")
    )
    plain = build_network(config, build_task(config)).weights_by_name()
    changed, again = (build_network(chrono_config, build_task(config)).weights_by_name() for _ in range(2))
    assert all(torch.equal(changed[name], again[name]) for name in changed)
    different = {name for name in plain if not torch.equal(plain[name], changed[name])}
    assert different == {"lstm.layers.0.b_f", "lstm.layers.0.b_i"}
