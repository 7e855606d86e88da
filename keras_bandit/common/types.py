"""Names for annotations, which only type checkers import."""

import os
from typing import Any

AnyPath = str | os.PathLike[str]

Config = dict[str, Any]
"""What `get_config` returns, and JSON can hold."""

Shape = tuple[int | None, ...]
"""Of a tensor; `None` is an axis of unknown length."""

Tensor = Any
"""Of the backend in use, or what it takes for one, such as a NumPy array."""
