import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classifiers.geometry import GeometrySettings, has_face, train_geometry
from emoaug import EmoaugError


def blendshapes(classes: int, count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = generator.uniform(0.2, 0.8, size=(classes, 52))
    return np.clip(centres[labels] + generator.normal(0, 0.15, size=(count, 52)), 0, 1), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_probabilities_are_those_of_a_scikit_learn_pipeline(classes: int) -> None:
    scores, labels = blendshapes(classes)
    settings = GeometrySettings(penalty=0.02, class_balanced=False)
    ours = train_geometry(scores, labels, classes, settings)
    penalty = 1 / (settings.penalty * len(labels))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000)).fit(scores, labels)
    np.testing.assert_allclose(ours(scores), theirs.predict_proba(scores), atol=1e-4)


def test_unseen_faces_of_separable_expressions_are_recognised() -> None:
    scores, labels = blendshapes(5, count=400)
    model = train_geometry(scores[:200], labels[:200])
    assert np.mean(model(scores[200:]).argmax(axis=1) == labels[200:]) > 0.95


def test_rows_without_a_face_do_not_change_the_fit() -> None:
    scores, labels = blendshapes(3)
    missing = np.full((4, 52), np.nan)
    plain = train_geometry(scores, labels)
    mixed = train_geometry(np.concatenate([scores, missing]), np.concatenate([labels, [0, 0, 0, 0]]))
    np.testing.assert_array_equal(plain.coefficients, mixed.coefficients)


def test_a_missing_score_counts_as_the_training_mean() -> None:
    scores, labels = blendshapes(3)
    model = train_geometry(scores, labels)
    gap = scores[:1].copy()
    gap[0, 7] = np.nan
    filled = gap.copy()
    filled[0, 7] = scores[:, 7].mean()
    np.testing.assert_allclose(model(gap), model(filled), atol=1e-6)
    assert has_face(gap).tolist() == [True]


def test_a_row_without_a_face_gets_a_probability_and_is_told_apart() -> None:
    scores, labels = blendshapes(3)
    empty = np.full((1, 52), np.nan)
    probabilities = train_geometry(scores, labels)(empty)
    assert probabilities.sum() == pytest.approx(1)
    assert np.ptp(probabilities) < 0.2
    assert has_face(empty).tolist() == [False]


def test_a_score_that_never_changes_is_ignored() -> None:
    scores, labels = blendshapes(3)
    scores[:, 0] = 0.25
    model = train_geometry(scores, labels)
    moved = scores.copy()
    moved[:, 0] = 0.3
    np.testing.assert_allclose(model(scores), model(moved), atol=1e-6)


def test_a_class_without_faces_has_probability_zero() -> None:
    scores, labels = blendshapes(2)
    probabilities = train_geometry(scores, labels * 2, classes=4)(scores)
    assert probabilities.shape == (120, 4)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities[:, [1, 3]], 0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_balancing_lifts_the_recall_of_the_rare_class() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [190, 10])
    scores = 0.5 + 0.1 * generator.normal(size=(200, 52)) + 0.03 * labels[:, None]
    recall = [
        np.mean(train_geometry(scores, labels, 2, GeometrySettings(10.0, balanced))(scores)[labels == 1, 1] > 0.5)
        for balanced in (False, True)
    ]
    assert recall[1] > recall[0]


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((3, 52)), np.array([0, 1]), "do not fit"),
        (np.zeros((2, 52)), np.array([0.0, 1.0]), "do not fit"),
        (np.zeros((2, 52)), np.array([0, 0]), "at least 2"),
        (np.full((2, 52), np.nan), np.array([0, 1]), "at least 2"),
        (np.zeros((2, 52)), np.array([0, -1]), "0 to 0"),
    ],
)
def test_input_that_does_not_fit_is_a_clear_error(scores, labels, message) -> None:
    with pytest.raises(EmoaugError, match=message):
        train_geometry(scores, labels)


def test_scores_of_another_length_are_refused() -> None:
    model = train_geometry(*blendshapes(3))
    with pytest.raises(EmoaugError, match="52"):
        model(np.zeros((1, 51)))
