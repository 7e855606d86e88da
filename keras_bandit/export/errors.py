"""What is raised for a model that a format or an engine cannot hold."""


class UnsupportedModelError(ValueError):
    """A model that a format cannot hold; the message says which and why."""
