"""Where this package keeps what it has fetched or computed once."""

import os
import pathlib


def cache_directory():
    """`KERAS_BANDIT_CACHE`, else a folder in the user's cache directory."""
    root = os.environ.get("KERAS_BANDIT_CACHE")
    if not root:
        import platformdirs

        root = platformdirs.user_cache_dir("keras-bandit", appauthor=False)
    return pathlib.Path(root)
