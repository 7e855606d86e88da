"""TFDS builders: `dnr`, `musdb18_hq`, `film_mix`.

The top of the repository has links to them in `datasets/`, where users of TFDS
look for builders.
"""
