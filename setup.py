"""The one thing that pyproject.toml cannot say: packages from two places.

The TFDS builders live in `datasets/`, where TFDS users look for them, and are
installed as `keras_bandit.datasets.*`. `datasets/` itself has no `__init__.py`:
a package of that name in the working directory would hide Hugging Face's.
"""

from setuptools import find_packages, setup

builders = {
    f"keras_bandit.datasets.{name}": f"datasets/{name}"
    for name in find_packages("datasets")
}
setup(
    packages=[*find_packages(include=["keras_bandit*"]), *builders],
    package_dir=builders,
)
