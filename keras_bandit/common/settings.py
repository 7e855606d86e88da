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

    `former` is what was read from it, a dict, nested or not, and `now` what
    would be written: values that JSON keeps. The `ValueError` names up to ten
    that differ, `where` ("the run my_run"), and what the user can do.
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
