"""The trainer, on drawn faces and the smallest LSSL."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch._dynamo

from augment import training_data
from augment.checkpoints import load_translator, read_config
from augment.pictures import decode_picture, read_picture
from augment.samples import to_pictures
from augment.systems.lssl import LSSL
from augment.training import Trainer
from augment.training_run import train
from augment.variation import Variation
from emoaug import EmoaugError
from tests.augment.tiny_training import SETTINGS, SYSTEM, weights
from tests.drawn_dataset import draw_dataset


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"))


def test_a_run_folder_explains_itself_and_its_checkpoint_translates(faces, tmp_path):
    checkpoint = train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    assert {"settings.json", "log.jsonl", "samples", "checkpoint", "state"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 12
    assert {"critic", "adversarial", "change", "landmarks"} <= log[-1].keys()
    assert [p.name for p in sorted((tmp_path / "run" / "samples").iterdir())] == [
        "000000.png",
        "000006.png",
        "000012.png",
    ]
    sheet = read_picture(tmp_path / "run" / "samples" / "000012.png")
    assert sheet.std() > 10
    config = read_config(checkpoint)["extra"]
    assert config["training_data"]["subjects"] == [f"person{i:02d}" for i in range(6)]
    translator = load_translator(tmp_path / "run")
    picture = torch.from_numpy(faces.picture(0)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        assert translator.translate(picture, translator.condition(["happy"])).shape == (1, 3, 32, 32)
    saved = torch.load(tmp_path / "run" / "state" / "state.pt", weights_only=True)
    assert saved["step"] == 12


def test_a_run_away_loss_stops_with_a_message_and_keeps_the_last_good_checkpoint(faces, tmp_path, monkeypatch):
    with pytest.raises(EmoaugError, match="ran away at step 4"):
        train(faces, tmp_path / "wild", "lssl", SYSTEM, replace(SETTINGS, learning_rate=1e6))
    assert not (tmp_path / "wild" / "checkpoint").exists()
    # Good for four steps, then wild: the checkpoint of the fourth step stays.
    real_step = Trainer._one_step

    def spoiled(self):
        if self.step == 5:
            next(self.translator.encoder.parameters()).data.fill_(float("nan"))
        return real_step(self)

    monkeypatch.setattr(Trainer, "_one_step", spoiled)
    with pytest.raises(EmoaugError, match="is nan"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    assert read_config(tmp_path / "run")["extra"]["steps"] == 4
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


@pytest.mark.parametrize(("cooldown", "last"), [(0.0, [1, 1, 1, 1]), (0.25, [1, 1, 2 / 3, 1 / 3]), (1.0, [4, 3, 2, 1])])
def test_steps_shrink_over_the_last_part_of_the_training(faces, tmp_path, monkeypatch, cooldown, last):
    sizes = []
    real_step = Trainer._one_step

    def watched(self):
        real_step(self)
        sizes.append(next(iter(self.optimizers.values())).param_groups[0]["lr"])

    monkeypatch.setattr(Trainer, "_one_step", watched)
    settings = replace(SETTINGS, cooldown=cooldown, learning_rate=1e-3)
    train(faces, tmp_path / "run", "lssl", SYSTEM, settings)
    assert len(sizes) == 12
    whole = [12, 11, 10, 9, 8, 7, 6, 5, *last] if cooldown == 1 else [1] * 8 + last
    assert sizes == pytest.approx([1e-3 * size / whole[0] for size in whole])


@pytest.mark.parametrize("any_frame", [True, False])
def test_faces_are_framed_anew_where_the_system_is_for_any_frame(faces, tmp_path, monkeypatch, any_frame):
    seen, vary = [], training_data.vary

    def watched(pictures, points, variation, generator):
        seen.append(variation)
        return vary(pictures, points, variation, generator)

    monkeypatch.setattr(LSSL, "any_frame", any_frame)
    monkeypatch.setattr(training_data, "vary", watched)
    train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1, jitter=0.9, cameras=0.8, framing=0.7))
    assert set(seen) == {Variation(0.9, 0.8, 0.7 if any_frame else 0.0)}


def test_settings_that_no_training_can_have_are_refused():
    for wrong in ({"learning_rate": 0}, {"cooldown": 1.5}, {"average_decay": 1}, {"jitter": -1}):
        with pytest.raises(EmoaugError, match=f"{next(iter(wrong))}.*allowed are"):
            replace(SETTINGS, **wrong)


def test_pictures_and_faces_are_inverse():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    back = to_pictures(pixels.float() / 127.5 - 1)[0]
    assert np.array_equal(back, pixels[0].permute(1, 2, 0).numpy())


def test_samples_are_real_pictures(faces, tmp_path):
    train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1))
    data = (tmp_path / "run" / "samples" / "000001.png").read_bytes()
    assert decode_picture(data).shape[2] == 3


@pytest.mark.slow
def test_compiled_networks_learn_the_same_but_for_rounding(faces, tmp_path, monkeypatch):
    # All of torch.compile but the C++ at its end, which takes minutes; generation's test has that too.
    monkeypatch.setattr("augment.training.compile_options", lambda device: {"backend": "aot_eager", "dynamic": False})
    settings = replace(SETTINGS, steps=3, sample_every=2)
    first = train(faces, tmp_path / "first", "lssl", SYSTEM, replace(SETTINGS, steps=1, seed=3))
    train(faces, tmp_path / "plain", "lssl", SYSTEM, settings, initial=first)
    torch._dynamo.reset()
    train(faces, tmp_path / "compiled", "lssl", SYSTEM, settings, compiled=True, initial=first)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    plain, compiled = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    apart = torch.cat([(plain[name] - compiled[name]).abs().flatten() for name in plain])
    # A step of Adam is as long as its rate, 1e-3, whatever the gradient: weights whose gradient is all rounding may go
    # either way, but they are few.
    assert apart.mean() < 1e-6
    assert (apart > 1e-5).float().mean() < 0.01
    # The same run: how it is computed does not keep it from going on.
    assert train(faces, tmp_path / "compiled", "lssl", SYSTEM, settings, initial=first).is_dir()
