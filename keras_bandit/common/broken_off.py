"""Sound files that break off, of which libsndfile tells its log alone."""

import re


def missing_samples(extra_info):
    """ "breaks off after 44078 of 88200 bytes of samples", or `None`.

    libsndfile takes what is left of a WAV file for all of it. Its log,
    soundfile's `extra_info`, has "data : 88200 (should be 44078)". Files whose
    length was not known when their header was written announce 2^32 - 1.
    """
    cut = re.search(r"^data\s*: (\d+) \(should be (\d+)\)", extra_info, re.M)
    if cut and int(cut[2]) < int(cut[1]) < 2**32 - 1:
        return f"breaks off after {cut[2]} of {cut[1]} bytes of samples"
    return None
