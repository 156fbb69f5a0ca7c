import torch

from augment.pairs import Pairs, thumbnails


def grey_faces(levels: list[int]) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()


def person(levels: list[int], faces: bool = True) -> Pairs:
    """A person with one picture of the first class and several of the second, each as grey as told."""
    labels = torch.tensor([0] + [1] * (len(levels) - 1))
    return Pairs.among(labels, torch.zeros(len(levels), dtype=torch.long), grey_faces(levels) if faces else None)


def partners_of_the_first(pairs: Pairs) -> set[int]:
    g = torch.Generator().manual_seed(0)
    first, one = torch.zeros(200, dtype=torch.long), torch.ones(200, dtype=torch.long)
    rows, partners = pairs.draw(g, 400)
    drawn = set(partners[rows == 0].tolist())
    assert drawn == set(pairs.partners(first, g).tolist()) == set(pairs.showing(first, one, g).tolist())
    assert drawn == set(pairs.towards(1, 100)[1][pairs.towards(1, 100)[0] == 0].tolist())
    return drawn


def test_partners_are_the_pictures_that_are_most_alike():
    # 20, 29 and 31 levels away: half as far again as the nearest is near enough.
    assert partners_of_the_first(person([100, 120, 71, 131])) == {1, 2}
    assert partners_of_the_first(person([100, 250])) == {1}
    assert partners_of_the_first(person([100, 120, 71, 131], faces=False)) == {1, 2, 3}


def test_pairs_towards_an_expression_are_every_other_face_of_a_person_who_shows_it():
    labels, people = torch.tensor([0, 1, 1, 0, 2, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 1, 2, 2, -1])
    pairs = Pairs.among(labels, people)
    found = [[x.tolist() for x in pairs.towards(label, 100)] for label in range(3)]
    assert found == [[[1, 2, 4], [0, 0, 3]], [[0, 0], [1, 2]], [[3], [4]]]
    assert pairs.towards(0, 2)[0].tolist() == [1, 4]


def test_a_copy_is_the_only_partner():
    assert partners_of_the_first(person([100, 101, 100])) == {2}


def test_nobody_shows_what_nobody_was_taken_with():
    pairs = person([100, 120])
    found = pairs.showing(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 2]), torch.Generator())
    assert found.tolist() == [-1, 1, 0, -1]


def test_thumbnails_are_mean_colours_of_squares():
    faces = torch.randint(256, (3, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    small = thumbnails(faces).view(3, 3, 8, 8)
    torch.testing.assert_close(small[1, 2, 5, 7], faces[1, 2, 15:18, 21:24].float().mean() / 127.5 - 1)
