"""An exception's message in one line."""


def one_line(error):
    """Puts an exception's message in one line, or its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
