"""The model of training by several processes: its formulas, its fit, and the split of a measured step."""

import pytest

from benchmarks.distributed.model import (
    Compute,
    Network,
    activation_bytes,
    fit_network,
    gan_exchange,
    gan_parameters,
    lstm_parameters,
)
from benchmarks.distributed.predictions import WORKERS, Model, predict
from benchmarks.distributed.recording import Collective, split
from reviver.gan.networks import Discriminator, Generator
from reviver.lstm.classifier import LSTMClassifier


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("hidden_size", [1, 128])
def test_the_model_counts_the_parameters_of_the_lstm(hidden_size):
    assert lstm_parameters(hidden_size) == count(LSTMClassifier(10, hidden_size, 10))


@pytest.mark.parametrize("image_size", [4, 28])
def test_the_model_counts_the_parameters_of_the_gan(image_size):
    shape = (1, image_size, image_size)
    assert gan_parameters(image_size) == (count(Generator(image_shape=shape)), count(Discriminator(shape)))


def test_bf16_halves_the_gradients_but_not_the_statistics():
    fp32, bf16 = (gan_exchange(28, gradient_bytes) for gradient_bytes in (4, 2))
    assert sum(fp32.gradients) == 2 * sum(bf16.gradients)
    assert fp32.small == bf16.small


def test_the_ring_needs_no_time_alone_and_tends_to_twice_the_message():
    network = Network(latency=0.0, bandwidth=1e9)
    assert network.all_reduce(1e9, 1) == 0
    assert network.all_reduce(1e9, 2) == pytest.approx(1.0)
    assert network.all_reduce(1e9, 1000) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_fit_finds_latency_and_bandwidth(processes):
    network = Network(latency=3e-5, bandwidth=2e9)
    fitted = fit_network(processes, {size: network.all_reduce(size, processes) for size in (4, 1 << 16, 1 << 26)})
    assert fitted == pytest.approx(network)


def test_a_step_is_split_into_computing_reducing_and_waiting():
    early = [Collective(started=1.0, blocked=1.0, done=5.0)]
    late = [Collective(started=3.0, blocked=4.0, done=5.0)]
    assert split(6.0, early, [early, late]) == pytest.approx((2.0, 2.0, 2.0))
    assert split(6.0, late, [early, late]) == pytest.approx((5.0, 1.0, 0.0))


def test_activation_checkpointing_saves_memory():
    B, T, H = 8, 1000, 64
    assert activation_bytes(B, T, H, 32) < 0.3 * activation_bytes(B, T, H)


def test_no_process_is_predicted_without_a_row():
    model = Model({"LSTM": Compute((1e-3, 0, 0, 1e-11, 0)), "GAN best": Compute((1e-3, 1e-5, 0, 1e-11))}, 1e-10)
    for scaling in predict(model, Network(1e-5, 1e9))["strong"]:
        workers = [row["workers"] for row in scaling["rows"]]
        assert workers == [number for number in WORKERS if number <= scaling["batch"]]
        assert scaling["rows"][0]["efficiency"] == pytest.approx(1.0)
        assert all(row["efficiency"] <= 1.001 for row in scaling["rows"])
