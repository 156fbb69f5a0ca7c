"""The trainer, on drawn faces and the smallest LSSL."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch._dynamo
from safetensors.torch import load_file

from augment.checkpoints import load_translator, read_config
from augment.intensities import IntensityScale
from augment.measured_conditions import measured_conditions
from augment.pictures import decode_picture, read_picture
from augment.samples import to_pictures
from augment.systems import get_system
from augment.training import Trainer, TrainingSettings, train
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset

SYSTEM = replace(
    get_system("lssl").configurations["compact"],
    size=32,
    width=8,
    depth=2,
    widest=16,
    residual_blocks=1,
    critic_width=8,
)
SETTINGS = TrainingSettings(
    steps=12, batch_size=4, sample_every=6, save_every=4, device="cpu", precision="32-true", learning_rate=1e-3
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"))


def weights(run):
    return load_file(run / "checkpoint" / "weights.safetensors")


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


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


SCRIPT = """
import sys
from pathlib import Path
from augment.folders import read_faces
from augment.training import train
from tests.augment.test_training import SETTINGS, SYSTEM
train(read_faces(Path(sys.argv[1])), Path(sys.argv[2]), "lssl", SYSTEM, SETTINGS)
"""


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights_and_files(faces, tmp_path):
    train(faces, tmp_path / "whole", "lssl", SYSTEM, SETTINGS)
    command = [sys.executable, "-c", SCRIPT, str(faces.root), str(tmp_path / "killed")]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    for attempt in range(20):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        state = tmp_path / "killed" / "state"
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
        if attempt < 4:
            time.sleep(random.Random(attempt).uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
    assert process.returncode == 0
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "killed" / "log.jsonl").read_text()


def test_a_state_laid_out_in_another_way_goes_on_alike(faces, tmp_path, monkeypatch):
    settings = replace(SETTINGS, learning_rate=1e-4)
    train(faces, tmp_path / "whole", "lssl", SYSTEM, settings)
    step = Trainer._one_step

    def stopped(self):
        if self.step == 8:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(faces, tmp_path / "parts", "lssl", SYSTEM, settings)
    monkeypatch.setattr("augment.devices.MOST_CHANNELS_LAST", 0)
    train(faces, tmp_path / "parts", "lssl", SYSTEM, settings)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    difference = torch.cat([(whole[name] - parts[name]).abs().flatten() for name in whole])
    assert difference.mean() < 1e-6


def test_a_finished_run_does_nothing_and_another_is_refused(faces, tmp_path, capsys):
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    assert "finished" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before
    with pytest.raises(EmoaugError, match="training differs"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, seed=1))
    with pytest.raises(EmoaugError, match="data sha256 differs"):
        train(faces.select(np.arange(8)), tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    first = weights(tmp_path / "run")
    train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, seed=1), restart=True)
    assert any(not torch.equal(first[n], w) for n, w in weights(tmp_path / "run").items())


def test_a_folder_with_something_else_is_left_alone(faces, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EmoaugError, match="holds no run of emoaug train"):
        train(faces, tmp_path, "lssl", SYSTEM, SETTINGS)
    with pytest.raises(EmoaugError, match="holds no run of emoaug train"):
        train(faces, tmp_path, "lssl", SYSTEM, SETTINGS, restart=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


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


def test_faces_without_landmarks_are_an_error_that_names_the_command(tmp_path):
    bare = draw_dataset(tmp_path / "bare", landmarks=False)
    with pytest.raises(EmoaugError, match="emoaug align"):
        train(bare, tmp_path / "run", "lssl", SYSTEM, SETTINGS)


def test_one_expression_alone_is_an_error(faces, tmp_path):
    happy = faces.select((faces.table.label == "happy").to_numpy())
    with pytest.raises(EmoaugError, match="at least two expressions"):
        train(happy, tmp_path / "run", "lssl", SYSTEM, SETTINGS)


def test_held_out_and_synthetic_faces_are_not_trained_on(faces, tmp_path):
    table = faces.table.copy()
    table["split"] = ["train"] * 8 + ["test"] * 4
    table.loc[0, "is_synthetic"] = True
    checkpoint = train(replace(faces, table=table), tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1))
    seen = read_config(checkpoint)["extra"]["training_data"]
    assert seen["faces"] == 7
    assert set(seen["subjects"]) == {f"person{i:02d}" for i in range(4)}
    assert seen["classes"] == {"neutral": 3, "happy": 4}


def test_other_pictures_of_a_held_out_person_are_not_trained_on(faces, tmp_path):
    table = faces.table.copy()
    table["split"] = ["test", *["train"] * 11]
    checkpoint = train(replace(faces, table=table), tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1))
    seen = read_config(checkpoint)["extra"]["training_data"]
    assert table.subject[0] not in seen["subjects"]
    assert seen["faces"] == 10


@pytest.mark.parametrize(("system", "seen"), [("lssl", 8), ("ip-gan", 12)])
def test_unlabelled_faces_are_for_systems_that_take_them(faces, tmp_path, system, seen):
    table = faces.table.copy()
    table.loc[8:, "label"] = None
    kind = get_system(system)
    settings = SYSTEM if system == "lssl" else replace(kind.configurations["compact"], size=32, width=4, judge_width=4)
    checkpoint = train(replace(faces, table=table), tmp_path / "run", system, settings, replace(SETTINGS, steps=1))
    facts = read_config(checkpoint)["extra"]["training_data"]
    assert facts["faces"] == seen
    assert facts["classes"] == {"neutral": 4, "happy": 4}


def test_pictures_and_faces_are_inverse():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    back = to_pictures(pixels.float() / 127.5 - 1)[0]
    assert np.array_equal(back, pixels[0].permute(1, 2, 0).numpy())


def test_samples_are_real_pictures(faces, tmp_path):
    train(faces, tmp_path / "run", "lssl", SYSTEM, replace(SETTINGS, steps=1))
    data = (tmp_path / "run" / "samples" / "000001.png").read_bytes()
    assert decode_picture(data).shape[2] == 3


@pytest.mark.parametrize("conditions", ["blendshapes", "action-units"])
def test_measured_conditions_need_no_labels_and_the_checkpoint_says_what_they_mean(tmp_path, conditions):
    faces = draw_dataset(tmp_path / "faces")
    faces.table["label"] = pd.Series([None] * 6 + list(faces.table.label[6:]), dtype=object)
    training = replace(SETTINGS, steps=3, sample_every=3, save_every=3)
    checkpoint = train(faces, tmp_path / "run", "lssl", SYSTEM, training, conditions=conditions)
    config = read_config(checkpoint)
    expected = ["browInnerUp", "jawOpen", "mouthSmile"] if conditions == "blendshapes" else ["AU1", "AU12", "AU26"]
    assert config["condition_names"] == expected
    scale = IntensityScale.from_config(config)
    shown = measured_conditions(faces, scale)
    assert shown.max(0).tolist() == [1.0, 1.0, 1.0]
    assert config["extra"]["training_data"]["faces"] == len(faces)
    translator = load_translator(checkpoint)
    happy = (faces.table.label == "happy").to_numpy()
    torch.testing.assert_close(
        translator.condition(["happy"])[0], torch.from_numpy(shown[happy].mean(0)), atol=1e-4, rtol=0
    )
    assert read_picture(tmp_path / "run" / "samples" / "000003.png").std() > 10
    with pytest.raises(EmoaugError, match="differ"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, training)


def test_a_system_of_classes_says_which_ones_take_measured_conditions(faces, tmp_path):
    settings = replace(get_system("reggan").configurations["compact"], size=32)
    with pytest.raises(EmoaugError, match="reggan learns from labels only; measured conditions are for lssl and cdaae"):
        train(faces, tmp_path / "run", "reggan", settings, SETTINGS, conditions="blendshapes")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_compiled_networks_learn_the_same_but_for_rounding(faces, tmp_path, monkeypatch):
    # All of torch.compile but the C++ at its end, which takes minutes; generation's test has that too.
    monkeypatch.setattr("augment.training.compile_options", lambda device: {"backend": "aot_eager", "dynamic": False})
    settings = replace(SETTINGS, steps=3, sample_every=2)
    train(faces, tmp_path / "plain", "lssl", SYSTEM, settings)
    torch._dynamo.reset()
    train(faces, tmp_path / "compiled", "lssl", SYSTEM, settings, compiled=True)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    plain, compiled = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    apart = torch.cat([(plain[name] - compiled[name]).abs().flatten() for name in plain])
    # A step of Adam is as long as its rate, 1e-3, whatever the gradient: weights whose gradient is all rounding may go
    # either way, but they are few.
    assert apart.mean() < 1e-6
    assert (apart > 1e-5).float().mean() < 0.01
    # The same run: how it is computed does not keep it from going on.
    assert train(faces, tmp_path / "compiled", "lssl", SYSTEM, settings).is_dir()
