"""Scores for every synthetic face, and rules that reject some: does the label hold, the person stay, the picture hold.

`Reference` scores faces against real ones, `score_folder` a dataset folder, `filter_folder` acts on the scores.
"""
