"""Expression changes as members of `torchvision.transforms.v2`: one picture at a time, or a batch on the GPU.

Both draw from torch's global generators, as torchvision's own transforms do, so `torch.manual_seed` repeats a run with
the same number of workers. `AugmentedDataset` gives the same pictures whatever the number of workers, and shows a
transform the label of `ImageFolder`'s pictures.
"""

from augment.augmented_dataset import AugmentedDataset
from augment.cached import CachedExpressions
from augment.expression_batch import ExpressionBatch
from augment.random_expression import RandomExpression

__all__ = ["AugmentedDataset", "CachedExpressions", "ExpressionBatch", "RandomExpression"]
