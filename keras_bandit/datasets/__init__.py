"""TFDS builders: `dnr`, `musdb18_hq`, `film_mix`.

Their source is in `datasets/` at the top of the repository; see `pyproject.toml`.
"""
