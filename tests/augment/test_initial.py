"""A training that begins with another's weights begins with what that one can do."""

from dataclasses import replace

import pytest
import torch

from augment.initial import begin_with
from augment.systems import SYSTEMS
from emoaug import EmoaugError
from tests.augment.systems.test_registry import SIZE, abilities, build, make_batch, smallest

NAMES = ("neutral", "happy", "sad")


def made(translator, batch, names):
    """What a translator makes when it is asked for expressions by name."""
    order = [translator.condition_names.index(name) for name in names]
    targets = torch.zeros_like(batch.targets)
    targets[:, order] = batch.targets
    return abilities(translator.eval(), replace(batch, targets=targets, partner_conditions=targets))


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_it_makes_the_same_faces_for_the_same_names(name):
    old, new = build(name, names=NAMES, settings=smallest(name)), build(name, names=NAMES, settings=smallest(name))
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert begin_with(new, old) == 1
    batch = make_batch()
    for way, faces in made(old, batch, NAMES).items():
        torch.testing.assert_close(made(new, batch, NAMES)[way], faces, msg=way)


# CDAAE repeats a condition, so that its entries have no places of their own.
@pytest.mark.parametrize("name", sorted(set(SYSTEMS) - {"cdaae"}))
def test_expressions_are_found_by_their_names_whatever_their_order(name):
    old = build(name, names=NAMES, settings=smallest(name))
    new = build(name, names=("sad", "neutral", "happy"), settings=smallest(name))
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    begin_with(new, old)
    batch = make_batch()
    for way, faces in made(old, batch, NAMES).items():
        torch.testing.assert_close(made(new, batch, NAMES)[way], faces, msg=way)


def test_a_new_expression_begins_anew_and_the_known_ones_stay_nearly_as_they_were():
    old = build("lssl", names=NAMES)
    with torch.no_grad():
        old.decoder.face.flow.weight.normal_(0, 0.1)
    new = build("lssl", names=("happy", "bored", "neutral", "sad"))
    fresh = new.critic.attribute.weight[1].clone()
    assert begin_with(new, old) > 0.9
    torch.testing.assert_close(new.critic.attribute.weight[1], fresh)
    torch.testing.assert_close(new.critic.attribute.weight[0], old.critic.attribute.weight[1])
    batch = make_batch()
    one, other = (t.eval().translate(batch.faces, t.condition(["happy"] * 4)) for t in (old, new))
    change = (one - batch.faces).abs().mean()
    assert change > 0.01
    assert (other - one).abs().mean() < 0.5 * change


def test_faces_of_another_size_keep_what_does_not_depend_on_it():
    old, new = build("lssl", names=NAMES), build("lssl", names=NAMES, settings=replace(build("lssl").settings, size=48))
    assert begin_with(new, old) > 0.9
    torch.testing.assert_close(new.encoder.state_dict(), old.encoder.state_dict())


def test_what_no_checkpoint_holds_does_not_make_up_for_other_networks():
    """RegGAN's critic is larger than what makes faces, and its regressions are solved anew for the new faces."""
    settings = replace(SYSTEMS["reggan"].configurations["compact"], size=SIZE)
    old, new = (build("reggan", names=NAMES, settings=replace(settings, width=width)) for width in (12, 24))
    with pytest.raises(EmoaugError, match="other networks"):
        begin_with(new, old)


def test_another_system_or_other_networks_are_refused():
    lssl = build("lssl", names=NAMES)
    with pytest.raises(EmoaugError, match="weights of reggan, and lssl is to be trained"):
        begin_with(lssl, build("reggan", names=NAMES))
    wide = build("lssl", names=NAMES, settings=replace(lssl.settings, size=SIZE, width=32, widest=256))
    with pytest.raises(EmoaugError, match="other networks"):
        begin_with(lssl, wide)
    # Nor does the landmark network make up for them, which is the same, and larger than these.
    narrow = build("lssl", names=NAMES, settings=replace(lssl.settings, size=SIZE, width=8, widest=16))
    with pytest.raises(EmoaugError, match="other networks"):
        begin_with(narrow, lssl)


@pytest.mark.parametrize("name", ["lssl", "reggan"])
def test_weights_that_answer_mirror_images_unlike_are_refused_where_they_are_to_be_alike(name):
    new = build(name, names=NAMES, settings=smallest(name))
    old = build(name, names=NAMES, settings=replace(smallest(name), mirrored=False))
    with pytest.raises(EmoaugError, match=r"trained with mirrored=false.*give --set mirrored=false"):
        begin_with(new, old)
    assert begin_with(build(name, names=NAMES, settings=old.settings), old) == 1
