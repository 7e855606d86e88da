"""Divide and Remaster, versions 2 and 3."""
