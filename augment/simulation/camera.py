"""Where the camera stands: head pose, perspective, and the frame that alignment would give the picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.faces import EYES, PHILTRUM

_LEFT_EYE, _RIGHT_EYE, _PHILTRUM = (36, 39), (42, 45), (33, 51)


@dataclass(frozen=True, eq=False)
class Camera:
    """How a batch of N heads stands before the camera.

    The head turns about the origin of its model. The camera looks along -z from (0, 0, distance) and sees the point
    (x, y, z) in the direction (x, -y) / (distance - z); the frame maps directions to the picture.
    """

    pose: Tensor
    """Yaw, pitch and roll, degrees, (N, 3); as `augment.landmarker.pose_of` reads them."""
    distance: Tensor
    """From the camera to the model's origin, cm, (N,). Small is a wide-angle selfie, large a telephoto portrait."""
    frame: Tensor
    """Similarity from direction to place in the picture, in shares of its side, (N, 2, 3); see `aim`."""

    def to(self, device: torch.device | str) -> Camera:
        """Move to a device."""
        return Camera(self.pose.to(device), self.distance.to(device), self.frame.to(device))


def rotation(pose: Tensor) -> Tensor:
    """Turn angles into rotation matrices.

    Args:
        pose: yaw (> 0: the person turns to the right of the picture), pitch (> 0: looks up) and roll (> 0: the head
            leans counter-clockwise in the picture), degrees, (N, 3). The head is rolled first, then pitched, then
            turned, as `augment.landmarker.pose_of` takes it apart.

    Returns:
        (N, 3, 3), to be multiplied with column vectors from the left.
    """
    yaw, pitch, roll = torch.deg2rad(pose.float()).unbind(1)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    turn = [yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos()]
    nod = [one, zero, zero, zero, pitch.cos(), pitch.sin(), zero, -pitch.sin(), pitch.cos()]
    lean = [roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one]
    first, second, third = (torch.stack(rows, 1).view(-1, 3, 3) for rows in (turn, nod, lean))
    return first @ second @ third


def directions(rotated: Tensor, distance: Tensor) -> Tensor:
    """Say in which direction the camera sees points.

    Args:
        rotated: in camera space, cm, (N, P, 3).
        distance: cm, (N,).

    Returns:
        Tangents of the angles to the right and downwards, and the distance from the camera plane in cm, (N, P, 3).
    """
    x, y, z = rotated.unbind(-1)
    depth = distance[:, None] - z
    return torch.stack([x / depth, -y / depth, depth], -1)


def project(vertices: Tensor, camera: Camera, size: int) -> tuple[Tensor, Tensor]:
    """Put heads before the camera.

    Args:
        vertices: in model space, cm, (N, V, 3).
        camera: N of them.
        size: side of the picture, pixels.

    Returns:
        Points for `rasterize` (x and y in pixels, distance from the camera plane in cm), (N, V, 3), and the vertices
        in camera space (x right, y up, z toward the camera, cm), (N, V, 3).
    """
    rotated = vertices @ rotation(camera.pose).transpose(1, 2)
    seen = directions(rotated, camera.distance)
    place = seen[..., :2] @ camera.frame[..., :2].transpose(1, 2) + camera.frame[:, None, :, 2]
    return torch.cat([place * size, seen[..., 2:]], -1), rotated


def alignment_anchors(landmarks: Tensor) -> Tensor:
    """Give the points that `emoaug align` holds fast, of a face's 68 landmarks.

    Args:
        landmarks: the 68 points of the Multi-PIE mark-up, (N, 68, 3).

    Returns:
        Middle of the left eye's corners as seen from the front, of the right one's, and of the philtrum, (N, 3, 3).
    """
    return torch.stack([landmarks[:, list(pair)].mean(1) for pair in (_LEFT_EYE, _RIGHT_EYE, _PHILTRUM)], 1)


def aim(anchors: Tensor, pose: Tensor, distance: Tensor, targets: Tensor | None = None) -> Camera:
    """Aim a camera so that three or more points of a face come to lie where they should.

    Args:
        anchors: points of the face in model space, cm, (N, A, 3), such as `alignment_anchors`.
        pose: degrees, (N, 3).
        distance: cm, (N,).
        targets: where they should go, shares of the picture's side, (A, 2) or (N, A, 2); by default where
            `emoaug align` puts the three `alignment_anchors`.

    Returns:
        The camera, whose frame is the rotation, scale and shift (never a reflection) of least squared distance.
    """
    if targets is None:
        targets = torch.tensor([*EYES, PHILTRUM], dtype=torch.float32, device=anchors.device)
    seen = directions(anchors @ rotation(pose).transpose(1, 2), distance)[..., :2]
    targets = targets.to(seen).expand_as(seen)
    source_mean, target_mean = seen.mean(1, keepdim=True), targets.mean(1, keepdim=True)
    source, target = seen - source_mean, targets - target_mean
    # As complex numbers a similarity is one factor: least squares gives sum(conj(source) * target) / sum(|source|^2).
    x, y = source.unbind(-1)
    u, v = target.unbind(-1)
    weight = (x * x + y * y).sum(1)
    real, imaginary = (x * u + y * v).sum(1) / weight, (x * v - y * u).sum(1) / weight
    linear = torch.stack([real, -imaginary, imaginary, real], 1).view(-1, 2, 2)
    shift = target_mean.transpose(1, 2) - linear @ source_mean.transpose(1, 2)
    return Camera(pose, distance, torch.cat([linear, shift], 2))
