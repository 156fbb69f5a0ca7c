import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from augment.action_units import BLENDSHAPE_NAMES
from augment.faces import FaceMeasures, write_measures
from augment.training_data import TrainingFaces, data_hash, load_training_faces, side_by_side
from augment.variation import Variation
from emoaug import EmoaugError
from tests.drawn_dataset import draw_dataset


def test_batches_are_balanced_and_no_target_is_what_the_face_shows(tmp_path):
    faces = draw_dataset(tmp_path)
    rare = faces.select(np.array([1, 3, 5, 7, 9, 0]))  # five happy, one neutral
    data = load_training_faces(rare, faces.vocabulary, 32)
    batch = data.batch(torch.Generator().manual_seed(0), 400, Variation())
    assert (batch.conditions * batch.targets).sum() == 0
    assert batch.targets.sum(1).eq(1).all()
    assert abs(batch.conditions[:, 0].mean() - 0.5) < 0.1
    assert batch.faces.abs().max() <= 1


def test_an_expression_that_no_face_shows_is_not_asked_for(tmp_path):
    data = load_training_faces(draw_dataset(tmp_path), ("happy", "angry", "neutral"), 32)
    batch = data.batch(torch.Generator().manual_seed(0), 200, Variation(jitter=0.0))
    assert batch.targets[:, 1].sum() == 0
    assert (batch.conditions * batch.targets).sum() == 0
    assert batch.targets.sum(1).eq(1).all()


def test_training_faces_need_two_classes():
    with pytest.raises(EmoaugError, match="another class"):
        TrainingFaces(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.zeros(3).long(), torch.zeros(3, 478, 2), 2)


def numbered_faces(subjects: list[int], labels: list[int], classes: int = 3) -> TrainingFaces:
    """Grey faces whose brightness is ten times their row, so that a drawn face says which it is."""
    pixels = torch.arange(len(labels), dtype=torch.uint8).mul(10).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    points = torch.arange(len(labels)).float().div(10).view(-1, 1, 1).expand(-1, 478, 2)
    return TrainingFaces(pixels, torch.tensor(labels), points, classes, subjects=torch.tensor(subjects))


def rows_of(faces: torch.Tensor) -> torch.Tensor:
    return ((faces[:, 0, 0, 0] + 1) * 12.75).round().long()


def test_partners_of_the_same_subject_show_the_target_and_are_the_same_person():
    # Person 2 has one expression and the last face belongs to nobody: neither can be half of a pair.
    data = numbered_faces([0, 0, 0, 1, 1, 2, 2, -1], [0, 1, 1, 0, 2, 0, 0, 1])
    batch = data.batch(torch.Generator().manual_seed(0), 600, Variation(jitter=0.0), "same subject")
    rows, partners = rows_of(batch.faces), rows_of(batch.partners)
    assert set(rows.tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(batch.subjects, data.subjects[rows])
    assert torch.equal(batch.partner_subjects, batch.subjects)
    assert torch.equal(data.subjects[partners], batch.subjects)
    assert torch.equal(batch.targets.argmax(1), data.labels[partners])
    assert (batch.conditions * batch.targets).sum() == 0
    assert not batch.same_picture.any()
    # Classes alike, though one has a single face.
    assert (batch.conditions.mean(0) - 1 / 3).abs().max() < 0.07


def test_a_face_is_beside_the_persons_picture_of_the_target_where_there_is_one():
    data = numbered_faces([0, 0, 0, 1, 1, 2, 2, -1], [0, 1, 1, 0, 2, 0, 0, 1])
    batch = data.batch(torch.Generator().manual_seed(0), 600, Variation(jitter=0.0), "same subject if any")
    alone = data.batch(torch.Generator().manual_seed(0), 600, Variation(jitter=0.0))
    rows, partners = rows_of(batch.faces), rows_of(batch.partners)
    assert torch.equal(batch.targets, alone.targets)
    assert torch.equal(batch.conditions, alone.conditions)
    found = {(row, target): set() for row in range(8) for target in range(3)}
    for row, target, partner in zip(rows.tolist(), batch.targets.argmax(1).tolist(), partners.tolist(), strict=True):
        found[row, target].add(partner)
    # Of the first's two pictures with the second class the one that is nearer to it.
    there = {(0, 1): {1}, (1, 0): {0}, (2, 0): {0}, (3, 2): {4}, (4, 0): {3}}
    for (row, target), others in found.items():
        assert others <= there.get((row, target), {row})
    assert found[0, 1] == {1}
    assert torch.equal(batch.same_picture, rows == partners)
    torch.testing.assert_close(batch.partner_landmarks[..., 1], data.landmarks[partners][..., 1])


def test_face_and_partner_of_a_subject_are_varied_alike(tmp_path):
    table = draw_dataset(tmp_path)
    data = load_training_faces(table, table.vocabulary, 32)
    twins = TrainingFaces(
        data.faces[::2].repeat_interleave(2, 0), data.labels, data.landmarks, 2, subjects=data.subjects
    )
    for partners in ("same subject", "same subject if any"):
        batch = twins.batch(torch.Generator().manual_seed(0), 20, Variation(), partners)
        assert not batch.same_picture.any()
        torch.testing.assert_close(batch.faces, batch.partners)
        assert not torch.equal(batch.faces[0], batch.faces[1])


@pytest.mark.parametrize("own", [0.0, 0.25, 0.6])
def test_anyone_is_a_partner_and_half_of_the_time_that_is_left_the_same_picture(own):
    data = numbered_faces([0, 0, 1, 1, 2], [0, 1, 0, 1, -1], 2)
    batch = data.batch(torch.Generator().manual_seed(0), 1000, Variation(jitter=0.0), "anyone", own)
    rows, partners = rows_of(batch.faces), rows_of(batch.partners)
    assert abs(batch.same_picture.float().mean() - (1 - own) / 2) < 0.05
    assert torch.equal(rows == partners, batch.same_picture)
    assert set(partners[~batch.same_picture].tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(batch.partner_subjects, data.subjects[partners])
    assert (batch.conditions * batch.targets).sum() == 0
    # Besides those of the person, every fourth of those who may be anyone.
    of_person = (batch.partner_subjects == batch.subjects) & ~batch.same_picture & (batch.subjects >= 0)
    assert set(rows[of_person].tolist()) == {0, 1, 2, 3}
    assert (partners[of_person] == (rows[of_person] ^ 1)).all()
    paired = rows < 4
    assert abs(of_person[paired].float().mean() - (own + (1 - own) / 2 / 4)) < 0.05


def test_pictures_of_one_person_are_varied_alike_and_strangers_apart():
    g = torch.Generator().manual_seed(4)
    picture = torch.randint(256, (1, 3, 8, 8), generator=g, dtype=torch.uint8)
    # Six times one picture: what differs is how it was varied.
    labels, subjects = torch.tensor([0, 1, 0, 1, -1, -1]), torch.tensor([0, 0, 1, 1, -1, -1])
    data = TrainingFaces(picture.expand(6, -1, -1, -1), labels, torch.zeros(6, 478, 2), 2, subjects=subjects)
    batch = data.batch(torch.Generator().manual_seed(1), 200, Variation(), "anyone", 0.4)
    alike = (batch.faces - batch.partners).abs().amax((1, 2, 3)) == 0
    one_person = batch.subjects == batch.partner_subjects
    assert alike[batch.same_picture].all()
    assert not alike[~one_person].any()
    assert alike[one_person].float().mean() > 0.8  # the others came as anyone does


def test_unlabelled_faces_are_partners_and_never_faces(tmp_path):
    table = draw_dataset(tmp_path)
    hidden = np.arange(len(table)) % 3 == 0
    table.table.loc[hidden, "label"] = None
    data = load_training_faces(table, table.vocabulary, 32)
    assert torch.equal(data.labels, torch.from_numpy(table.label_indices()))
    batch = data.batch(torch.Generator().manual_seed(0), 200, Variation(jitter=0.0), "anyone")
    assert batch.conditions.sum(1).eq(1).all()
    unknown = batch.partner_conditions.sum(1) == 0
    assert not (unknown & batch.same_picture).any()
    assert abs(unknown[~batch.same_picture].float().mean() - hidden.mean()) < 0.15


def test_partners_are_drawn_after_everything_else(tmp_path):
    table = draw_dataset(tmp_path)
    data = load_training_faces(table, table.vocabulary, 32)
    plain = data.batch(torch.Generator().manual_seed(5), 8, Variation())
    accompanied = data.batch(torch.Generator().manual_seed(5), 8, Variation(), "anyone")
    assert plain.partners is None
    assert torch.equal(plain.faces, accompanied.faces)
    assert torch.equal(plain.targets, accompanied.targets)


def test_without_pairs_the_error_says_what_would_make_some(tmp_path):
    data = numbered_faces([0, 1, 2], [0, 1, 2])
    with pytest.raises(EmoaugError, match=r"--subject-pattern.*emoaug simulate --per-subject"):
        data.batch(torch.Generator(), 4, Variation(jitter=0.0), "same subject")


def test_subjects_are_numbered_in_the_order_of_their_names(tmp_path):
    table = draw_dataset(tmp_path)
    table.table.loc[0, "subject"] = None
    table.table.loc[1, "subject"] = "aaron"
    data = load_training_faces(table, table.vocabulary, 32)
    names = list(table.table.subject)
    assert data.subject_names == tuple(sorted(set(names) - {None}))
    assert data.subject_names[0] == "aaron"
    assert data.subjects.tolist() == [-1 if n is None else data.subject_names.index(n) for n in names]


def measured_faces(n: int = 12, subjects: list[int] | None = None) -> TrainingFaces:
    """Unlabelled grey faces; each shows an intensity of its own in either of two movements."""
    pixels = torch.arange(n, dtype=torch.uint8).mul(10).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    shown = torch.arange(n).float().div(n)
    return TrainingFaces(
        *(pixels, torch.full((n,), -1), torch.zeros(n, 478, 2), 2),
        subjects=None if subjects is None else torch.tensor(subjects),
        intensities=torch.stack([shown, 1 - shown], 1),
    )


def test_measured_faces_are_drawn_alike_and_asked_for_what_another_face_shows():
    data = measured_faces()
    batch = data.batch(torch.Generator().manual_seed(0), 1200, Variation(jitter=0.0))
    rows, targets = rows_of(batch.faces), (batch.targets[:, 0] * 12).round().long()
    torch.testing.assert_close(batch.conditions, data.intensities[rows])
    torch.testing.assert_close(batch.targets, data.intensities[targets])
    assert (rows != targets).all()
    assert torch.bincount(rows, minlength=12).min() > 60
    assert torch.bincount(targets, minlength=12).min() > 60


def test_partners_of_measured_faces_are_other_pictures_of_the_person_whatever_they_show():
    data = measured_faces(8, [0, 3, 0, 1, 3, 0, -1, -1])
    batch = data.batch(torch.Generator().manual_seed(0), 800, Variation(jitter=0.0), "same subject")
    rows, partners = rows_of(batch.faces), rows_of(batch.partners)
    assert set(zip(rows.tolist(), partners.tolist(), strict=True)) == {
        *((a, b) for a in (0, 2, 5) for b in (0, 2, 5) if a != b),
        *((1, 4), (4, 1)),
    }
    torch.testing.assert_close(batch.targets, data.intensities[partners])
    counts = torch.bincount(rows, minlength=8)
    assert counts[[0, 1, 2, 4, 5]].min() > 120
    with pytest.raises(EmoaugError, match="none has such a partner"):
        measured_faces(3, [0, 1, -1]).batch(torch.Generator(), 4, Variation(jitter=0.0), "same subject")


def test_a_hash_of_training_faces_is_of_all_that_is_learnt_from_them_and_not_of_the_names_of_files(tmp_path):
    faces = draw_dataset(tmp_path / "faces", landmarks=False)
    shutil.copytree(tmp_path / "faces", tmp_path / "copy")
    shutil.copy(tmp_path / "copy" / faces.table.file_name[0], tmp_path / "copy" / "another.png")
    moved = faces.table.assign(file_name=["another.png", *faces.table.file_name[1:]])
    assert data_hash(replace(faces, root=tmp_path / "copy", table=moved)) == data_hash(faces)
    others = [replace(faces, table=faces.table.assign(**{column: "happy"})) for column in ("label", "subject")]
    hashes = {data_hash(table) for table in (faces, *others, faces.select(np.arange(11)))}
    still = np.zeros((len(faces), 52), np.float32)
    for place in (0.1, 0.2):
        points = np.full((len(faces), 478, 3), place, np.float32)
        measures = FaceMeasures(points, still, np.array(BLENDSHAPE_NAMES), still[:, :3])
        write_measures(faces.root, list(faces.table.file_name), measures)
        hashes.add(data_hash(faces))
    assert len(hashes) == 6


def test_faces_are_asked_for_what_their_own_dataset_shows():
    own = numbered_faces([-1] * 3, [0, 1, 0])
    also = numbered_faces([-1] * 5, [0, 1, 1, 2, 2])
    also = replace(also, faces=also.faces + 100)
    batch = side_by_side(own, also).batch(torch.Generator().manual_seed(1), 600, Variation(jitter=0.0))
    from_also = (batch.faces.amax((1, 2, 3)) * 127.5 + 127.5) > 95
    assert batch.targets[~from_also, 2].sum() == 0
    assert (batch.conditions * batch.targets).sum() == 0
    assert batch.targets.sum(1).eq(1).all()
    # Of the classes that a face does not show, either is asked for as often.
    asked = batch.targets[from_also & (batch.conditions[:, 0] == 1)].mean(0)
    assert asked[1] == pytest.approx(0.5, abs=0.1)


def test_a_dataset_of_one_expression_is_asked_for_what_the_other_shows():
    own = replace(numbered_faces([-1, -1], [0, 1]), labels=torch.zeros(2, dtype=torch.long), part=True)
    batch = side_by_side(own, numbered_faces([-1, -1], [1, 2])).batch(
        torch.Generator().manual_seed(1), 100, Variation(jitter=0.0)
    )
    assert batch.targets[batch.conditions[:, 0] == 1, 1:].sum(1).eq(1).all()


def test_of_two_datasets_side_by_side_both_are_drawn_as_often_and_nobody_is_in_both():
    own = replace(numbered_faces([0, 0, 1], [0, 1, 0]), subject_names=("a", "b"))
    also = replace(numbered_faces([0, 0, 0, 1, 1, 1, -1], [0, 1, 2, 0, 1, 2, 0]), subject_names=("a", "c"))
    also = replace(also, faces=also.faces + 100)
    both = side_by_side(own, also)
    assert both.subjects.tolist() == [0, 0, 1, 2, 2, 2, 3, 3, 3, -1]
    drawn = [
        both.batch(torch.Generator().manual_seed(1), 600, Variation(jitter=0.0), p) for p in ("none", "same subject")
    ]
    for batch in drawn:
        from_also = (batch.faces.amax((1, 2, 3)) * 127.5 + 127.5) > 95
        for label, share in ((0, 0.5), (1, 0.5), (2, 1.0)):
            mine = batch.conditions[:, label] == 1
            assert from_also[mine].float().mean() == pytest.approx(share, abs=0.1)
    pairs = drawn[1]
    apart = (pairs.partners - pairs.faces).abs().amax((1, 2, 3)) * 127.5
    assert apart.max() < 25  # a person's pictures follow each other
