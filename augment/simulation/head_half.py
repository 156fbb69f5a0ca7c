"""Collects the vertices and triangles of one half of the built-in head."""

import itertools

import numpy as np

from augment.simulation.morphable import PARTS


class Half:
    """Collects one half of the head, x >= 0."""

    def __init__(self) -> None:
        self.vertices: list[np.ndarray] = []
        self.triangles: list[np.ndarray] = []
        self.parts: list[np.ndarray] = []
        self.parents: list[np.ndarray] = []
        self.jaw: list[np.ndarray] = []
        self.count = 0

    def add(
        self, vertices: np.ndarray, part: str, parents: np.ndarray | None = None, jaw: float | np.ndarray = np.nan
    ) -> np.ndarray:
        """Add vertices and give their numbers."""
        numbers = self.count + np.arange(len(vertices))
        self.vertices.append(vertices)
        self.parts.append(np.full(len(vertices), PARTS.index(part)))
        self.parents.append(numbers if parents is None else parents)
        self.jaw.append(np.broadcast_to(jaw, len(vertices)))
        self.count += len(vertices)
        return numbers

    def strip(self, first: np.ndarray, second: np.ndarray, closed: bool = False) -> None:
        """Join two rows of as many vertices; their outside is where `second` lies to the left of `first`'s way."""
        if closed:
            first, second = np.r_[first, first[0]], np.r_[second, second[0]]
        self.triangles.append(np.column_stack([first[:-1], first[1:], second[1:]]))
        self.triangles.append(np.column_stack([first[:-1], second[1:], second[:-1]]))

    def sheet(self, rows: np.ndarray, part: str, jaw: float = np.nan, closed: bool = False) -> np.ndarray:
        """Add a grid of vertices, (R, C, 3), and join its rows; gives (R, C) numbers."""
        numbers = self.add(rows.reshape(-1, 3), part, jaw=jaw).reshape(rows.shape[:2])
        for first, second in itertools.pairwise(numbers):
            self.strip(first, second, closed)
        return numbers
