"""What a user chooses for the separation of a file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from keras_bandit.inference import DEFAULT_BATCH_SIZE

if TYPE_CHECKING:
    from typing import Any


REMUXES = ("mkv", "mov", "mp4")
"""Containers of the film with the stems as further tracks."""

STEM_OPTIONS = (
    "stems",
    "mne",
    "deliver",
    "residual",
    "without",
    "only",
    "gains_db",
    "mixture_consistency",
    "markers",
)
"""Those that say which stems are computed and what is made of them."""

COMPUTE_OPTIONS = (
    "chunk_seconds",
    "hop_seconds",
    "batch_size",
    "mixture_consistency",
    "shifts",
    "seed",
)
"""Those that `separate_blocks` takes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparationOptions:
    """What `separate_file` reads, computes and writes.

    What is read:

    Args:
        audio_track, damaged: see `open_source`.
        lfe: what becomes of the channel of low effects: see
            `keras_bandit.inference.lfe.LFE`.

    What is computed:

    Args:
        mixture_consistency, chunk_seconds, hop_seconds: see `separate`.
        batch_size, shifts, seed: see `separate`.

    What is written:

    Args:
        stems: list of str. `None`: all, or none with `deliver`. Others are
            computed only where something is made of them. For many files, pass
            a separator of the stems that `check_file` returns as
            `choice.computed` (`with_stems`): each call that has to leave out
            stems compiles a model.
        mne: bool. Whether to write `mne` too: music plus effects (or sfx).
        deliver: list of `"me"` (music plus effects, a draft of an M&E),
            `"dialogue"` (speech) and `"optionals"` (singing).
        residual: bool. Whether to write `residual` too: the mixture minus
            `stems`, or minus what is delivered.
        without: list of str. Writes `mix`, the recording without these stems.
        only: list of str. Writes `mix`, these stems alone.
        gains_db: `{stem: dB}`. Writes `mix`, the recording or what `without`
            or `only` leave of it, with these stems so much louder.
        file_format: `"wav"` or `"flac"`.
        subtype: see `choose_subtype`.
        split_channels: bool. Whether to write a mono file for each channel,
            `speech.L.wav`, in place of one for all.
        title: str. What the report and the markers call the recording; `None`:
            the name of its file.
        name: str. Template of the files' names: `{stem}`, `{title}` (that of
            the recording, without suffix), `{layout}` and `{rate}` are filled in.
        remux: `"mkv"`, `"mov"`, `"mp4"` or `None`. Also writes `film`, the
            film with all that is written as further sound tracks (`remux` of
            `keras_bandit.media.remuxing`); players choose the mix, if there is
            one.
        report: bool. Also writes `report.json` and the page `report.html`:
            loudness, peaks, whether the stems add up, and how they look; see
            `keras_bandit.inference.report.Report`.
        markers: list of `"csv"` and `"edl"`. Also writes `markers.csv` and
            `markers.edl`: where dialogue is; see
            `keras_bandit.inference.dialogue.write_markers`.
        overwrite: bool. Whether to replace files that exist.
        inputs: list of paths that are never replaced, beside the source.
        resume: bool. Whether to go on where a former call of the same
            arguments was killed, and to keep what is finished for the next
            one, in the hidden folder `.job` of the output. It takes as much
            room as the stems in FLOAT. The files are the same to the bit.
    """

    audio_track: int | list | None = None
    damaged: str = "error"
    lfe: str = "effects"
    mixture_consistency: bool = False
    chunk_seconds: float | None = None
    hop_seconds: float | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    shifts: int = 0
    seed: int = 0
    stems: list | None = None
    mne: bool = False
    deliver: list = ()
    residual: bool = False
    without: list = ()
    only: list = ()
    gains_db: dict | None = None
    file_format: str = "wav"
    subtype: str | None = None
    split_channels: bool = False
    title: str | None = None
    name: str = "{stem}"
    remux: str | None = None
    report: bool = False
    markers: list = ()
    overwrite: bool = False
    inputs: list = ()
    resume: bool = False

    def some(self, *names: Any) -> dict[str, Any]:
        """`{name: value}` of some of them."""
        return {name: getattr(self, name) for name in names}
