"""The mean attribute code of each expression, and how a code moves to it."""

import numpy as np
import torch
from torch.nn import functional as F

from augment.recombination_networks import ExpressionCodes


def test_mean_codes_follow_the_faces_of_each_expression():
    g = torch.Generator().manual_seed(0)
    expressions, kept = ExpressionCodes(3, 5, 0.9), [None, None, None]
    for classes in ([0, 0, 1], [1, 1, 0], [0, 0, 0]):
        codes, index = torch.randn(3, 5, generator=g), torch.tensor(classes)
        expressions.learn(codes, F.one_hot(index, 3).float())
        for c in set(classes):
            now = codes[index == c].mean(0)
            kept[c] = now if kept[c] is None else 0.9 * kept[c] + 0.1 * now
    torch.testing.assert_close(expressions.means[:2], torch.stack(kept[:2]))
    assert expressions.known.tolist() == [True, True, False]


def test_a_moved_code_has_the_mean_asked_for_where_means_differ_and_stays_itself_elsewhere():
    g = torch.Generator().manual_seed(0)
    expressions = ExpressionCodes(3, 8, 0.9)
    expressions.learn(torch.randn(3, 8, generator=g), torch.eye(3))
    codes = torch.randn(2, 8, generator=g)
    conditions = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    moved = expressions.move(codes, conditions).numpy()
    means = expressions.means.numpy()
    # An orthonormal base of the differences of means, by QR.
    base, _ = np.linalg.qr((means[1:] - means[:1]).T)
    target = np.stack([means[2], (means[0] + means[1]) / 2])
    np.testing.assert_allclose(moved @ base, target @ base, atol=1e-5)
    rest = np.eye(8) - base @ base.T
    np.testing.assert_allclose(moved @ rest, codes.numpy() @ rest, atol=1e-5)


def test_an_expression_that_nobody_showed_has_no_direction_and_moves_nothing():
    g = torch.Generator().manual_seed(0)
    expressions = ExpressionCodes(3, 8, 0.9)
    expressions.learn(1 + torch.randn(2, 8, generator=g), torch.eye(3)[:2])
    codes = torch.randn(3, 8, generator=g)
    moved = expressions.move(codes, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.5]]))
    difference = expressions.means[1] - expressions.means[0]
    base = difference / difference.norm()
    torch.testing.assert_close(moved[0], codes[0] + (expressions.means[1] - codes[0]) @ base * base)
    assert torch.equal(moved[1], codes[1])
    torch.testing.assert_close(moved[2], codes[2] + 0.5 * (expressions.means[0] - codes[2]) @ base * base)


def test_codes_stay_while_no_expression_is_known():
    codes = torch.randn(2, 8)
    assert torch.equal(ExpressionCodes(3, 8, 0.9).move(codes, torch.eye(3)[:2]), codes)


def test_codes_move_to_the_means_of_today_whether_or_not_faces_were_made_before():
    torch.manual_seed(1)
    expressions = ExpressionCodes(3, 8, 0.0)
    for _ in range(2):
        expressions.learn(torch.randn(6, 8), torch.eye(3).repeat(2, 1))
    codes, wanted = torch.randn(4, 8), torch.eye(3)[[0, 1, 2, 0]]
    expected = expressions.move(codes, wanted)
    assert torch.equal(expressions.eval().move(codes, wanted), expected)
    assert "_along" not in expressions.state_dict()
    other = ExpressionCodes(3, 8, 0.0).eval()
    other.load_state_dict(expressions.state_dict())
    assert torch.equal(other.move(codes, wanted), expected)
    # Also where it learns while it makes faces.
    other.learn(torch.randn(6, 8), torch.eye(3).repeat(2, 1))
    assert torch.equal(other.move(codes, wanted), other.train().move(codes, wanted))
