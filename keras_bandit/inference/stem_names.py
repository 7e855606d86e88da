"""How models call the stems of a film."""

_NAMES = {
    "speech": ("speech",),
    "music": ("music", "music_instrumental"),
    "singing": ("singing", "music_vocals"),
    "effects": ("effects", "sfx"),
}


def stem_of(kind, stems):
    """The stem of `stems` that is of a kind, or `None`.

    Args:
        kind: `"speech"`, `"music"` (without singing, where that is a stem of
            its own), `"singing"` or `"effects"`.
        stems: list of str.
    """
    return next((name for name in _NAMES[kind] if name in stems), None)
