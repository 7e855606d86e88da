"""Options of `separate` and `bulk`: those of `SeparationOptions`."""

import dataclasses

from keras_bandit.cli.arguments import names, path, tracks, whole
from keras_bandit.inference.options import REMUXES, SeparationOptions


def gains(text):
    """`{stem: dB}` of `speech=6,music=-3`."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {stem.strip(): float(value) for stem, _, value in pairs}


def chosen_options(args):
    """`{name: value}` of those `SeparationOptions` that the arguments have."""
    fields = dataclasses.fields(SeparationOptions)
    return {f.name: vars(args)[f.name] for f in fields if f.name in args}


def add_separation_options(parser):
    """Adds what is read, computed and written of a file, and the engine."""
    option, flag = parser.option, parser.flag
    option(
        "--audio-track",
        "N",
        tracks,
        "which sound track of a film, from 1 (the one it prefers), or several "
        "that are its channels in order, 1-6; keras-bandit info lists them",
    )
    parser.add_argument(
        "--damaged",
        choices=["error", "silence"],
        default="error",
        help="what to do where a file is damaged (%(default)s)",
    )
    option(
        "--stems", "A,B", names, "stems to write, such as speech,music (all)"
    )
    flag(
        "--residual",
        "also write residual: the mixture minus the stems that are written",
    )
    flag("--mne", "also write mne: music plus effects")
    option(
        "--without",
        "A,B",
        names,
        "also write mix: the recording without these stems",
        default=(),
    )
    option(
        "--only", "A,B", names, "also write mix: these stems alone", default=()
    )
    option(
        "--gain",
        "A=DB,B=DB",
        gains,
        "also write mix: the recording, or what --without or --only leave of it, "
        "with these stems so many dB louder",
        dest="gains_db",
    )
    option(
        "--deliver",
        "A,B",
        names,
        "write me (music plus effects), dialogue, optionals (singing), and of "
        "the stems only those of --stems",
        default=(),
    )
    flag(
        "--split-channels",
        "write a mono file for each channel, such as speech.L.wav",
    )
    parser.add_argument(
        "--lfe",
        choices=["effects", "separate", "drop"],
        default="effects",
        help="channel of low effects: to the effects as it is, separated like "
        "any channel, or silent in all stems (%(default)s)",
    )
    parser.add_argument(
        "--remux",
        choices=REMUXES,
        help="also write film: the film with what is written as further sound "
        "tracks; players choose the mix, if there is one",
    )
    flag(
        "--report",
        "also write report.json and the page report.html: loudness, true peaks, "
        "whether the stems add up, waveforms and spectrograms",
    )
    option(
        "--markers",
        "csv,edl",
        names,
        "also write markers.csv or markers.edl, or both: where dialogue is",
        default=(),
    )
    option(
        "--name",
        "TEMPLATE",
        str,
        "names of the files, of {stem}, {title}, {layout} and {rate} "
        "(%(default)s)",
        default="{stem}",
    )
    parser.add_mixture_consistency()
    parser.add_chunks(
        hop_help="from chunk to chunk; smaller is smoother and slower (half a "
        "chunk, two thirds for Open-Unmix and MRX, three quarters for Demucs; "
        "BandIt's authors take 0.5)",
    )
    option(
        "--shifts",
        "N",
        whole,
        "average so many separations at random offsets of up to 0.5 s, as "
        "Demucs's authors do (none)",
        default=0,
    )
    option("--seed", "N", whole, "seed of the offsets (%(default)s)", default=0)
    parser.add_engine()
    option(
        "--engine-cache",
        "DIR",
        path,
        "keep OpenVINO's compiled models here, for a quicker start (nowhere)",
    )
    parser.add_argument(
        "--format",
        dest="file_format",
        choices=["wav", "flac"],
        default="wav",
        help="file format (%(default)s)",
    )
    parser.add_argument(
        "--subtype",
        choices=["PCM_16", "PCM_24", "FLOAT"],
        help="sample format (the input's if it is PCM_16 or PCM_24, else "
        "FLOAT for wav and PCM_24 for flac)",
    )
