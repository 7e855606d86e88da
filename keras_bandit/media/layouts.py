"""Channel layouts by name, and as the speaker masks of WAV files.

Bit n of a mask is the n-th of `SPEAKERS`, in Microsoft's
WAVEFORMATEXTENSIBLE and in FFmpeg alike; channels come in the order of the
bits. Names are FFmpeg's.
"""

SPEAKERS = [
    "FL",
    "FR",
    "FC",
    "LFE",
    "BL",
    "BR",
    "FLC",
    "FRC",
    "BC",
    "SL",
    "SR",
    "TC",
    "TFL",
    "TFC",
    "TFR",
    "TBL",
    "TBC",
    "TBR",
]


def mask_of(speakers):
    """The mask of speakers that come in a mask's order, or else `None`.

    mask_of(["FL", "FR", "LFE"])  # 0b1011
    """
    if not all(speaker in SPEAKERS for speaker in speakers):
        return None
    bits = [SPEAKERS.index(speaker) for speaker in speakers]
    if bits != sorted(set(bits)):
        return None
    return sum(1 << bit for bit in bits)


def speakers_of(mask):
    """The speakers of a mask, in the order of the channels."""
    return [name for i, name in enumerate(SPEAKERS) if mask >> i & 1]


_FRONT = ["FL", "FR", "FC"]
_TOP = ["TFL", "TFR", "TBL", "TBR"]

LAYOUTS = {
    name: mask_of(speakers)
    for name, speakers in {
        "mono": ["FC"],
        "stereo": ["FL", "FR"],
        "2.1": ["FL", "FR", "LFE"],
        "3.0": _FRONT,
        "quad": ["FL", "FR", "BL", "BR"],
        "5.0": [*_FRONT, "BL", "BR"],
        "5.0(side)": [*_FRONT, "SL", "SR"],
        "5.1": [*_FRONT, "LFE", "BL", "BR"],
        "5.1(side)": [*_FRONT, "LFE", "SL", "SR"],
        "6.1": [*_FRONT, "LFE", "BC", "SL", "SR"],
        "7.1": [*_FRONT, "LFE", "BL", "BR", "SL", "SR"],
        "5.1.4": [*_FRONT, "LFE", "SL", "SR", *_TOP],
        "7.1.4": [*_FRONT, "LFE", "BL", "BR", "SL", "SR", *_TOP],
    }.items()
}
"""The mask of each layout that has a name."""


def layout_of(num_channels, mask=None):
    """A layout's name and mask: those of a file that states a mask, or none.

    Without a mask one channel is mono and two are stereo; more are "unknown",
    and so is a mask without a name, which is kept, or one of another number
    of channels, which is not.

    Returns:
        `(name, mask)`; the mask is `None` if it is not known.
    """
    if not mask or mask.bit_count() != num_channels:
        mask = {1: LAYOUTS["mono"], 2: LAYOUTS["stereo"]}.get(num_channels)
    elif num_channels == 1:
        # A single channel is mono, wherever it is to be heard.
        return "mono", mask
    names = [name for name in LAYOUTS if LAYOUTS[name] == mask]
    return (names or ["unknown"])[0], mask


def film_names(speakers):
    """What film people call the speakers, for the names of mono files.

    film_names(["FL", "FR", "FC", "LFE", "SL", "SR"])
    # ["L", "R", "C", "LFE", "Ls", "Rs"]
    """
    if speakers == ["FC"]:
        return ["M"]
    names = {"FL": "L", "FR": "R", "FC": "C"}
    sides = {"SL", "SR"} <= set(speakers)
    if sides and {"BL", "BR"} <= set(speakers):
        names |= {"SL": "Lss", "SR": "Rss", "BL": "Lrs", "BR": "Rrs"}
    else:
        names |= {"SL": "Ls", "SR": "Rs", "BL": "Ls", "BR": "Rs"}
    return [names.get(speaker, speaker) for speaker in speakers]
