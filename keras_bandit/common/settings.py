"""Whether a directory was begun with the settings that are asked for now."""

_SHOWN = 10


def _flatten(settings, prefix=""):
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _show(settings, key):
    return repr(settings[key]) if key in settings else "absent"


def check_same_settings(former, now, where, remedy):
    """Refuses to go on in a directory that was begun with other settings.

    Args:
        former: dict, nested or not, as read from the directory.
        now: dict. As `former` would be written now: values that JSON keeps.
        where: str. What was begun, such as "the run my_run", for the error.
        remedy: str. What the user can do, for the error.

    Raises:
        ValueError: if a value differs or is in one of the two only; names
            each of them, but not more than ten.
    """
    former, now = _flatten(former), _flatten(now)
    differing = [
        f"{key}: {_show(former, key)} before, {_show(now, key)} now"
        for key in sorted({*former, *now})
        if key not in former or key not in now or former[key] != now[key]
    ]
    if len(differing) > _SHOWN:
        differing[_SHOWN:] = [f"and {len(differing) - _SHOWN} more"]
    if differing:
        raise ValueError(
            f"{where} has other settings: {'; '.join(differing)}; {remedy}"
        )
