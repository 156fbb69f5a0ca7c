"""Draw what people look like, and dress their faces: skin, hair, eyes, glasses, from one random generator a person."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.simulation.accessories import glasses_numbers, glasses_triangles, glasses_vertices
from augment.simulation.backgrounds import background
from augment.simulation.facial_hair import paint_beard, paint_brows, paint_lashes
from augment.simulation.hair import lift, paint_hair
from augment.simulation.hanging_hair import (
    curtain_girth,
    hanging_coordinates,
    hanging_numbers,
    hanging_triangles,
    hanging_vertices,
)
from augment.simulation.lashes import shorten_lashes
from augment.simulation.layout import focused, layout
from augment.simulation.morphable import PARTS, FaceModel
from augment.simulation.people import MONK_SCALE, AppearanceSettings, Person, draw_person
from augment.simulation.skin import paint_skin, skin_tone
from augment.simulation.surface import WRINKLES, Surface
from augment.simulation.wrinkles import age_lines, paint_wrinkles

__all__ = ["MONK_SCALE", "WRINKLES", "AppearanceSettings", "Surface", "background", "draw_appearance", "dress"]

PALE_SKIN = 0.40
"""Mean albedo of skin beside which teeth and the whites of the eyes have the albedo written here. Beside paler skin
teeth are lightened as much as it is. Without, the teeth of 69 rendered people with light cheeks were 0.90 times as
bright as these (sRGB, 90th percentile between the lips' inner edges), those of 28 smiling people of the Face Research
Lab London Set 1.19 times."""

BY_SKIN = 0.3
"""The albedo of whites, and of teeth beside skin darker than `PALE_SKIN`, goes with this power of skin's. With one for
all, both were too bright in dark faces, as a camera exposes them: whites 175 to 194 of 255 where cheeks are below
70, now 124 to 139, and 124 in the London Set; teeth 219 to 238 where cheeks are below 110, now 175 to 195, and 194 in
the London Set (80 rendered people with either head, a throwaway script)."""


def draw_appearance(
    model: FaceModel, generators: Sequence[torch.Generator], settings: AppearanceSettings | None = None
) -> Surface:
    """Draw one person a generator.

    Args:
        model: the face model that the surface is for, on the CPU.
        generators: one a person, on the CPU; a person depends on its generator, the model and the settings only.
        settings: shares and ranges.

    Returns:
        The people's surface, on the CPU.
    """
    settings = settings or AppearanceSettings()
    people = [draw_person(generator, settings) for generator in generators]
    return paint(model, people, settings.texture_size)


def paint(model: FaceModel, people: Sequence[Person], texture_size: int = 256) -> Surface:
    """Paint people whose traits are known.

    Args:
        model: the face model, on the CPU.
        people: at least one.
        texture_size: R, texels.

    Returns:
        Their surface, on the CPU.
    """
    model = _on_cpu(model)
    rows = [_paint_person(model, person, texture_size) for person in people]
    tensors = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    return Surface(**tensors, people=tuple(_description(person) for person in people))


def _paint_person(model: FaceModel, person: Person, side: int) -> dict[str, np.ndarray]:
    """Paint one person; arrays by the names of `Surface`, without the batch."""
    grid = layout(model, side)
    albedo, shine = paint_skin(grid, person)
    paint_lashes(albedo, grid, person)
    paint_beard(albedo, shine, grid, person)
    paint_brows(albedo, grid, person)
    mask = paint_hair(albedo, shine, grid, person)
    return {
        "texture": albedo,
        "shine": shine[None],
        "wrinkles": _bare(paint_wrinkles(grid, person), mask),
        "age_lines": age_lines(person),
        "part_colours": _part_colours(person),
        "iris": np.array(person.iris, np.float32),
        "pupil": np.array(person.pupil, np.float32),
        "roughness": np.array(0.68 - 0.22 * person.oiliness, np.float32),
        "specular": np.array((0.12 + 0.2 * person.oiliness) * (1 - 0.03 * person.tone), np.float32),
        "hair": lift(model, grid, person, mask),
        "hanging": np.array(hanging_numbers(person), np.float32),
        "lashes": np.array(0.6 + 0.6 * person.lash_line, np.float32),
        "glasses": np.array(glasses_numbers(person), np.float32),
    }


def _bare(wrinkles: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Take the folds away that hair covers, in place."""
    for name in ("forehead", "frown", "crows_feet"):
        wrinkles[list(WRINKLES).index(name)] *= 1 - hair
    return wrinkles


def _part_colours(person: Person) -> np.ndarray:
    """Give each part its albedo, (P, 3) linear RGB."""
    rng = np.random.default_rng([person.seed, 7])
    yellow = min(max(0.25 + 0.5 * (person.age - 20) / 60 + 0.2 * rng.standard_normal() * person.irregularity, 0), 1)
    skin = skin_tone(person)
    paleness = float(skin.mean()) / PALE_SKIN
    whites = paleness**BY_SKIN
    # The lightest tones are lighter here than skin's albedo is; of teeth that were not, smiles would be grey inside.
    teeth = paleness if paleness > 1 else whites
    colours = {
        "skin": skin,
        "eyeball": whites * np.array([0.68, 0.63, 0.58]) * [1, 1 - 0.06 * yellow, 1 - 0.16 * yellow],
        "teeth": teeth * np.array([0.66, 0.61, 0.50]) * [1, 1 - 0.10 * yellow, 1 - 0.35 * yellow],
        "gums": np.array([0.36, 0.11, 0.10]) * (1 - 0.05 * person.tone),
        "tongue": np.array([0.36, 0.13, 0.12]),
        "mouth": np.array([0.40, 0.16, 0.14]),
        "lashes": np.array([0.012, 0.009, 0.008]),
        "glasses": np.array(person.glasses_colour),
        "hair": np.array(person.hair),
    }
    return np.stack([colours[name] for name in PARTS]).astype(np.float32)


def _description(person: Person) -> dict[str, Any]:
    """Describe a person in plain values."""
    return {
        "monk_tone": min(max(round(person.tone), 1), 10),
        "masculine": round(person.masculine, 3),
        "age": round(person.age, 1),
        "glasses": person.glasses,
        "beard": person.beard_style,
        "hair": person.hair_style,
        "hair_colour": person.hair_colour,
        "eye_colour": person.eye_colour,
        "makeup": bool(person.lipstick or person.eyeliner or person.eyeshadow),
        "age_lines": round(float(age_lines(person).mean()), 3),
    }


def dress(model: FaceModel, vertices: Tensor, surface: Surface) -> tuple[FaceModel, Tensor]:
    """Put hair and glasses on faces, in model space, before they are turned.

    Args:
        model: the face model.
        vertices: faces, cm, (N, V, 3).
        surface: their N people, on the same device.

    Returns:
        The model with the glasses' geometry after its own, whose numbers stay, and with the texture coordinates of the
        surface; it is for rendering only, its shapes do not reach the new vertices. And the vertices, cm, (N, V', 3).
    """
    around = _girth(model)
    pieces = [
        shorten_lashes(model, vertices, surface.lashes) + surface.hair,
        glasses_vertices(model, vertices, surface.glasses),
        hanging_vertices(model, vertices, surface.hanging, around),
    ]
    return _dressed_model(model, pieces[1].shape[1], pieces[2].shape[1]), torch.cat(pieces, 1)


@functools.lru_cache(maxsize=4)
def _on_cpu(model: FaceModel) -> FaceModel:
    """Fetch a model to the CPU, once."""
    return model.to("cpu")


@functools.lru_cache(maxsize=4)
def _girth(model: FaceModel) -> Tensor:
    return curtain_girth(_on_cpu(model)).to(model.vertices)


@functools.lru_cache(maxsize=4)
def _dressed_model(model: FaceModel, frame: int, curtain: int) -> FaceModel:
    """Add glasses of `frame` vertices and hanging hair of `curtain` vertices to a model."""
    laid_out = focused(model)
    device, own = model.vertices.device, len(model.vertices)
    parts = torch.tensor([PARTS.index("glasses")] * frame + [PARTS.index("skin")] * curtain, device=device)
    coordinates = torch.cat([torch.zeros(frame, 2), hanging_coordinates()]).to(device)
    triangles = torch.cat([glasses_triangles(own), hanging_triangles(own + frame)]).to(device)
    return replace(
        laid_out,
        vertices=torch.cat([model.vertices, model.vertices.new_zeros(frame + curtain, 3)]),
        triangles=torch.cat([model.triangles, triangles]),
        parts=torch.cat([model.parts, parts]),
        texture_coordinates=torch.cat([laid_out.texture_coordinates, coordinates]),
    )
