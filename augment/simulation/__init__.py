"""Faces from a 3D model: geometry, appearance, light and camera are drawn at random, the labels are exact."""
