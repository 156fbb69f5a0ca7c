"""The embedding finds people again whom it has not seen."""

import numpy as np

from augment.scoring.identity import learn_identity


def people_with_expressions(people, seed, nuisance):
    """Descriptions whose strongest direction is one that everybody moves along."""
    generator = np.random.default_rng(seed)
    who = generator.normal(0, 1, (people, 40)).repeat(4, 0)
    mood = generator.normal(0, 6, (4 * people, 1)) * nuisance
    return who + mood + 0.2 * generator.normal(0, 1, who.shape), [f"p{i // 4}" for i in range(4 * people)]


def found_again(embedding, descriptions, people):
    places = embedding(descriptions)
    alike = places @ places.T
    np.fill_diagonal(alike, -2)
    return np.mean([people[i] == people[j] for i, j in enumerate(alike.argmax(1))])


def test_strangers_are_found_again_whatever_their_expression():
    nuisance = np.random.default_rng(9).normal(0, 1, 40) / 2
    seen, names = people_with_expressions(60, 0, nuisance)
    new, others = people_with_expressions(20, 1, nuisance)
    named = found_again(learn_identity(seen, names), new, others)
    raw = found_again(lambda d: d / np.linalg.norm(d, axis=1, keepdims=True), new, others)
    assert named > 0.95
    assert raw < 0.8


def test_without_names_it_still_tells_people_apart():
    nuisance = np.random.default_rng(9).normal(0, 1, 40) / 2
    seen, _ = people_with_expressions(60, 0, nuisance)
    new, others = people_with_expressions(20, 1, nuisance)
    assert found_again(learn_identity(seen, [None] * len(seen)), new, others) > 0.8


def test_places_lie_on_a_sphere():
    seen, names = people_with_expressions(5, 0, np.zeros(40))
    places = learn_identity(seen, names)(seen)
    assert np.allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)
