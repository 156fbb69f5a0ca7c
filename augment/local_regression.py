"""Regression in closed form with local receptive fields: each output pixel from a window of the source around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.tone import Tone


class LocalRidge:
    """One ridge regression per output pixel and channel, solved from its normal equations.

    Each output pixel i sees the side × side window of the source around it and a bias, and its weights are
    w_i = (X_i^T X_i + penalty I)^-1 X_i^T t_i over the pairs. Outside the picture the window is 0, so the ridge gives
    weights of exactly 0 there. Neighbouring windows overlap: the sums over pairs of products of two source pixels are
    kept once for every pixel and distance, not once for every window, and pairs can be added a few at a time.

    Args:
        shape: channels, height and width of the pictures.
        side: of the window, pixels, odd.

    Source: Khan et al., IJCV 2020, the closed form of masked regression.
    """

    def __init__(self, shape: tuple[int, int, int], side: int) -> None:
        self.shape, self.side, self.pairs = shape, side, 0
        channels, height, width = shape
        self.padded = (channels, height + side - 1, width + side - 1)
        zeros = torch.zeros
        # The pixel at a distance (dy, dx), below or to the right: the others follow from symmetry.
        distances = [(dy, dx) for dy in range(side) for dx in range(-side + 1 if dy else 0, side)]
        self.products = {distance: zeros(self.padded, dtype=torch.float64) for distance in distances}
        self.source_sum = zeros(self.padded, dtype=torch.float64)
        self.window_target = zeros((side * side, *shape), dtype=torch.float64)
        self.target_sum = zeros(shape, dtype=torch.float64)

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Offset of each pixel of a window from its upper left, row by row."""
        return [(y, x) for y in range(self.side) for x in range(self.side)]

    def add(self, sources: Tensor, targets: Tensor) -> None:
        """Add pairs of pictures, (N, C, H, W) each."""
        _, height, width = self.padded
        _, rows, columns = self.shape
        padded = F.pad(sources.double(), (self.side // 2,) * 4)
        # One pair at a time stays in the processor's cache; all at once would go through memory for every distance.
        for source, target in zip(padded, targets.double(), strict=True):
            for (dy, dx), total in self.products.items():
                left, right = max(0, -dx), width - max(0, dx)
                here = (slice(None), slice(0, height - dy), slice(left, right))
                there = source[:, dy:, left + dx : right + dx]
                total[here].addcmul_(source[here], there)
            for total, (y, x) in zip(self.window_target, self.taps, strict=True):
                total.addcmul_(source[:, y : y + rows, x : x + columns], target)
            self.source_sum += source
            self.target_sum += target
        self.pairs += len(sources)

    def solve(self, penalty: float) -> Tensor:
        """Weights (side² + 1, C, H, W) float64: the window row by row, then the bias, which is penalised too."""
        channels, height, width = self.shape
        weights = torch.empty(self.side**2 + 1, *self.shape, dtype=torch.float64)
        band = max(1, 2**22 // (width * len(weights) ** 2))
        for channel in range(channels):
            for top in range(0, height, band):
                rows = slice(top, min(height, top + band))
                weights[:, channel, rows] = self._solve_rows(channel, rows, penalty)
        return weights

    def _solve_rows(self, channel: int, rows: slice, penalty: float) -> Tensor:
        count, width = rows.stop - rows.start, self.shape[2]

        def at(tap: tuple[int, int], padded: Tensor) -> Tensor:
            return padded[channel, rows.start + tap[0] : rows.stop + tap[0], tap[1] : tap[1] + width]

        size = self.side**2 + 1
        gram = torch.empty(size, size, count, width, dtype=torch.float64)
        for i, one in enumerate(self.taps):
            for j, other in enumerate(self.taps[i:], i):
                gram[i, j] = gram[j, i] = at(one, self.products[other[0] - one[0], other[1] - one[1]])
            gram[i, -1] = gram[-1, i] = at(one, self.source_sum)
        gram[-1, -1] = self.pairs
        moments = torch.cat([self.window_target[:, channel, rows], self.target_sum[None, channel, rows]])
        matrices = gram.flatten(2).permute(2, 0, 1).contiguous()
        matrices.diagonal(dim1=1, dim2=2).add_(penalty)
        solved = torch.cholesky_solve(moments.flatten(1).T.unsqueeze(2), torch.linalg.cholesky(matrices))
        return solved.squeeze(2).T.reshape(size, count, width)


class LocalRegression(nn.Module):
    """Applies the regressions: faces (N, 3, S, S) in [-1, 1] and conditions (N, K) to faces in [-1, 1].

    A condition's regressions are added up as changes of the source, so that blends blend and no condition is no change.
    Before it is fitted, every regression is the identity.

    Args:
        classes: K, entries of a condition.
        size: S, side of the faces, pixels.
        side: of the window, pixels, odd.
        toned: whether faces lose their own tone (`augment.tone`) before they are regressed, and get it back after.
    """

    weights: Tensor
    """(side² + 1, K, 3 S S): the window row by row, then the bias; of pixels in [0, 1], beyond where they are toned."""

    def __init__(self, classes: int, size: int, side: int, toned: bool = False) -> None:
        super().__init__()
        self.side, self.toned = side, toned
        weights = torch.zeros(side**2 + 1, classes, 3 * size * size)
        weights[side**2 // 2] = 1
        self.register_buffer("weights", weights)

    def set_weights(self, label: int, weights: Tensor) -> None:
        """Take the regression (side² + 1, 3, S, S) towards one entry of the condition."""
        self.weights[:, label].copy_(weights.flatten(1))

    def forward(self, faces: Tensor, condition: Tensor) -> Tensor:
        """Regress faces."""
        # A sum of ten products, some of them large and of either sign, is not for bf16.
        with torch.autocast(faces.device.type, enabled=False):
            faces, condition = faces.float(), condition.float()
            tone = Tone.of(faces) if self.toned else None
            pixels = ((faces if tone is None else tone.taken_from(faces)) + 1) / 2
            height, width = pixels.shape[-2:]
            padded = F.pad(pixels, (self.side // 2,) * 4)

            def blend(tap: int) -> Tensor:
                return (condition @ self.weights[tap]).view(pixels.shape)

            result = pixels * (1 - condition.sum(1)).view(-1, 1, 1, 1) + blend(self.side**2)
            for tap in range(self.side**2):
                y, x = divmod(tap, self.side)
                result = result + blend(tap) * padded[:, :, y : y + height, x : x + width]
            return result.clamp(0, 1) * 2 - 1 if tone is None else tone.given_to(result * 2 - 1).clamp(-1, 1)
