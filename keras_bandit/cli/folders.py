"""Folders that the command writes to."""

import os

from keras_bandit.cli.console import CommandError


def check_writable(folder):
    """Checks that a directory can be made, or written to if it exists."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CommandError(f"{existing}: not a directory; cannot write there")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"{existing}: no permission to write there")
