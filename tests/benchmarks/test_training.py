"""The benchmark of training: what it compares is alike, and what it measures adds up."""

import copy
import json

import pytest
import torch

from augment.expressions import SEVEN
from augment.systems import Progress, get_system
from augment.variation import Variation
from benchmarks.stargan import StarGANSettings
from benchmarks.stargan_training import StarGANCritic, TrainableStarGAN, published_loop
from benchmarks.training import PUBLISHED, Options, as_large_as_stargan, main, noise, parameters


@pytest.mark.parametrize("size", [64, 128])
def test_lssl_is_made_as_large_as_stargan(size):
    with torch.device("meta"):
        reference = parameters(TrainableStarGAN(SEVEN, StarGANSettings(size)))
        ours = parameters(get_system("lssl")(SEVEN, as_large_as_stargan(size)))
    assert reference["generator"] == pytest.approx(8.4e6, rel=0.01)
    assert ours["encoder"] + ours["decoder"] == pytest.approx(reference["generator"], rel=0.12)
    assert ours["critic"] == pytest.approx(reference["critic"], rel=0.12)


@pytest.mark.slow
def test_the_published_loop_updates_the_critic_five_times_as_often():
    torch.manual_seed(0)
    network = TrainableStarGAN(SEVEN, StarGANSettings(64), plain=True)
    network.generator = torch.nn.Conv2d(3 + len(SEVEN), 3, 1)  # the large one would take long
    before = {name: value.clone() for name, value in network.state_dict().items()}
    updates = published_loop(network, noise(64, people=2), batch_size=1)
    names = [next(updates)[0] for _ in range(6)]
    assert names == ["critic"] * 5 + ["generator"]
    assert not any(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.fixture
def small_stargan():
    torch.manual_seed(0)
    network = TrainableStarGAN(SEVEN, StarGANSettings(64))
    network.generator = torch.nn.Conv2d(3 + len(SEVEN), 3, 1)
    return network, noise(64, people=2).batch(torch.Generator().manual_seed(0), 2, Variation(jitter=0.0))


def test_stargan_s_critic_learns_the_published_objective_in_one_pass(small_stargan):
    network, batch = small_stargan
    published = copy.copy(network)
    published._modules = network._modules | {"critic": StarGANCritic(64, len(SEVEN), plain=True)}
    published.critic.load_state_dict(network.critic.state_dict())
    gradients = []
    for critic, objective in (
        (network.critic, network.critic_loss),
        (published.critic, published.published_critic_loss),
    ):
        torch.manual_seed(1)  # the same share between real and made
        loss, terms = objective(batch, Progress(0, 1))
        named = torch.nn.functional.cross_entropy(critic(batch.faces)[1], batch.conditions.argmax(1))
        torch.testing.assert_close(loss, terms["critic"] + named + 10 * terms["penalty"])
        loss.backward()
        gradients.append([p.grad for p in critic.parameters()])
    for ours, published in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, published, rtol=1e-3, atol=1e-5)


def test_stargan_trains_in_bf16(small_stargan):
    network, batch = small_stargan
    with torch.autocast("cpu", torch.bfloat16):
        for phase in network.phases():
            loss, _ = phase.loss(batch, Progress(0, 1))
            loss.backward()
            assert loss.isfinite()


def test_milliseconds_of_the_phases_add_up(tmp_path, capsys):
    out = tmp_path / "training.json"
    main(Options(out, systems=("reggan",), size=32, batch_size=2, steps=1, reference_size=0, repeat=1))
    rows = json.loads(out.read_text())["rows"]
    assert rows[0]["system"] == "reggan"
    assert rows[0]["precision"] == "32-true"
    parts = rows[0]["milliseconds"]
    assert {"critic", "penalty", "generator", "rest"} == parts.keys()
    assert sum(parts.values()) == pytest.approx(1000 / rows[0]["steps_a_second"], rel=1e-6)
    assert PUBLISHED not in capsys.readouterr().out
