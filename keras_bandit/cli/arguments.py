"""The arguments of all commands, and the function that each of them runs."""

import argparse
import math
import os

from keras_bandit.cli.console import CommandError
from keras_bandit.cli.convert import convert_command
from keras_bandit.cli.evaluate import evaluate_command
from keras_bandit.cli.prepare import prepare_command
from keras_bandit.cli.presets import presets_command
from keras_bandit.cli.separate import separate_command
from keras_bandit.inference import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_CHUNK_SECONDS,
    DEFAULT_HOPS_PER_CHUNK,
)
from keras_bandit.inference.engines import ENGINES, PRECISIONS

_EXIT_STATUS = """\
exit status:
  0    everything was done
  1    some of several files failed; the others are done
  2    nothing was done: bad arguments, preset or input
  130  interrupted with Ctrl-C
"""


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the usage."""

    def error(self, message):
        raise CommandError(f"{message} (see {self.prog} --help)")


def _seconds(text):
    """Parses a positive, finite number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a positive number of seconds; got {text!r}"
        )
    return value


def _count(text):
    """Parses a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a positive integer; got {text!r}"
        )
    return int(text)


def _counts(text):
    """Parses three counts separated by commas, of which some may be 0."""
    counts = text.split(",")
    if len(counts) != 3 or not all(count.isdecimal() for count in counts):
        raise argparse.ArgumentTypeError(
            f"must be three numbers of tracks, such as 70,10,20; got {text!r}"
        )
    return dict(
        zip(("train", "validation", "test"), map(int, counts), strict=True)
    )


def _folder(text):
    """Parses a directory's path: an empty one would be the current one."""
    if not text:
        raise argparse.ArgumentTypeError("must be a directory's path; got ''")
    return text


def _names(text):
    """Parses names separated by commas; a repeated one counts once."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"must be names separated by commas; got {text!r}"
        )
    return list(dict.fromkeys(names))


def _files(text):
    """Parses paths separated by commas, or one path that holds commas."""
    return [text] if os.path.exists(text) else _names(text)


def _add_mixture_consistency(parser):
    parser.add_argument(
        "--mixture-consistency",
        action="store_true",
        help="share out what the stems leave of the mixture among them, so "
        "that they add up to it",
    )


def _add_chunks(parser, hop_seconds, hop_help):
    parser.add_argument(
        "--chunk-seconds",
        type=_seconds,
        default=DEFAULT_CHUNK_SECONDS,
        metavar="S",
        help="length of the chunks that the model sees (%(default)s)",
    )
    parser.add_argument(
        "--hop-seconds",
        type=_seconds,
        default=hop_seconds,
        metavar="S",
        help=hop_help,
    )
    parser.add_argument(
        "--batch-size",
        type=_count,
        default=DEFAULT_BATCH_SIZE,
        metavar="N",
        help="chunks at a time; raise it on a GPU (%(default)s)",
    )


def _add_engine(parser):
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what computes: keras, openvino, or openvino where it is "
        "installed, can run the model, there is no GPU and no --backend "
        "(%(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="bfloat16 is faster and less exact: OpenVINO, on processors "
        "that have it (%(default)s)",
    )


def _add_backend(parser):
    parser.add_argument(
        "--backend",
        choices=["tensorflow", "jax", "torch"],
        help="Keras backend (KERAS_BACKEND, else ~/.keras/keras.json, else "
        "tensorflow)",
    )


def _add_separate(commands):
    parser = commands.add_parser(
        "separate",
        help="separate audio files into stems",
        description="Separates audio files into stems. Writes "
        "OUTPUT/<file name>/<stem>.<format> at the rate, channels and length "
        "of the input.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=separate_command)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument(
        "--preset",
        required=True,
        metavar="NAME_OR_DIR",
        help="preset directory (see convert), name (see presets), or hf://...",
    )
    parser.add_argument(
        "--output",
        type=_folder,
        default="separated",
        metavar="DIR",
        help="directory of the results (%(default)s)",
    )
    parser.add_argument(
        "--stems",
        type=_names,
        metavar="A,B",
        help="stems to write, such as speech,music (all)",
    )
    parser.add_argument(
        "--residual",
        action="store_true",
        help="also write residual: the mixture minus the stems that are "
        "written",
    )
    parser.add_argument(
        "--mne",
        action="store_true",
        help="also write mne: music plus effects",
    )
    _add_mixture_consistency(parser)
    _add_chunks(
        parser,
        hop_seconds=None,
        hop_help="from chunk to chunk; smaller is smoother and slower (chunk / "
        f"{DEFAULT_HOPS_PER_CHUNK}, "
        f"{DEFAULT_CHUNK_SECONDS / DEFAULT_HOPS_PER_CHUNK}; the authors "
        "take 0.5)",
    )
    _add_engine(parser)
    parser.add_argument(
        "--engine-cache",
        type=_folder,
        metavar="DIR",
        help="keep OpenVINO's compiled models here, for a quicker start "
        "(nowhere)",
    )
    parser.add_argument(
        "--format",
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
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing files"
    )
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="only errors and warnings, no progress or summary",
    )
    _add_backend(parser)


def _add_convert(commands):
    parser = commands.add_parser(
        "convert",
        help="convert a released checkpoint to a preset directory",
        description="Converts a released checkpoint (BandIt v1 and v2, and "
        "BSRNN by BandIt's authors) to a preset directory. What the model is, "
        "is found from the checkpoint's tensors.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=convert_command)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("out_dir", type=_folder, metavar="OUT_DIR")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace OUT_DIR if it is a preset directory",
    )
    parser.add_argument(
        "--sample-rate",
        type=_count,
        metavar="HZ",
        help="rate the model was trained at (from hparams.yaml or the bands)",
    )
    _add_backend(parser)


def _add_prepare(commands):
    parser = commands.add_parser(
        "prepare",
        help="prepare a dataset for training and evaluation",
        description="Checks the files of a dataset and stores them, or an "
        "index of them, in DATA_DIR/DATASET/CONFIG. Damaged or missing files "
        "are all named, and then nothing is written.",
        epilog="""\
datasets, and what the manual directory holds:
  dnr          Divide and Remaster: the folders tr, cv, tt (version 2), or
               language folders with train, val, test (version 3)
  musdb18_hq   MUSDB18-HQ: the folders train and test
  film_mix     any of the folders speech, music, effects with your sounds, or
               nothing (sounds are generated): tracks are mixed there first

configs:
  paths        keep the audio where it is, store an index (default)
  segments     store seconds of samples: portable, for training elsewhere
  of dnr       v2_paths (default), ..., v3_eng_paths, v3_multi_segments, ...

"""
        + _EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=prepare_command)
    parser.add_argument(
        "dataset", choices=["dnr", "musdb18_hq", "film_mix"], metavar="DATASET"
    )
    parser.add_argument(
        "--manual-dir",
        type=_folder,
        required=True,
        metavar="DIR",
        help="folder with the dataset's files",
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        required=True,
        metavar="DIR",
        help="where datasets are prepared",
    )
    parser.add_argument(
        "--config", metavar="NAME", help="how it is stored, see below"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make it again if it is prepared; the former one stays if that "
        "fails",
    )
    parser.add_argument(
        "--num-tracks",
        type=_counts,
        metavar="TRAIN,VALIDATION,TEST",
        help="film_mix: tracks to mix (70,10,20)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="S",
        help="film_mix: length of the tracks (60)",
    )
    parser.add_argument(
        "--sample-rate",
        type=_count,
        metavar="HZ",
        help="film_mix: rate of the tracks (44100)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="film_mix: seed (0)"
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="film_mix: processes that mix (1)",
    )
    parser.add_argument(
        "--remix",
        action="store_true",
        help="film_mix: remove tracks that were mixed otherwise, with another "
        "length, rate, seed or other sounds",
    )
    parser.add_argument(
        "--skip",
        type=_files,
        action="extend",
        metavar="FILE,...",
        help="film_mix: sound files to leave out; may be given several times",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="only errors, no progress"
    )


def _add_evaluate(commands):
    parser = commands.add_parser(
        "evaluate",
        help="score a model on a prepared dataset",
        description="Separates whole tracks of a prepared dataset and scores "
        "the stems, with oracles beside them. Writes OUTPUT/results.md, "
        "summary.json, plots/<stem>.png and tracks/<name>.json; run again, "
        "it continues with the tracks that are missing.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(
        command=evaluate_command, residual=False, engine_cache=None
    )
    parser.add_argument(
        "--preset",
        required=True,
        metavar="NAME_OR_DIR",
        help="preset directory, name (see presets), or hf://...",
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        required=True,
        metavar="DIR",
        help="where datasets are prepared (see prepare)",
    )
    parser.add_argument(
        "--split",
        choices=["train", "validation", "test"],
        default="test",
        help="part of the dataset (%(default)s)",
    )
    parser.add_argument(
        "--output",
        type=_folder,
        default="evaluation",
        metavar="DIR",
        help="directory of the results (%(default)s)",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME[/CONFIG]",
        help="dnr, musdb18_hq or film_mix (the one that is prepared in "
        "DATA_DIR, if it is one)",
    )
    parser.add_argument(
        "--stems",
        type=_names,
        metavar="A,B",
        help="stems to compute and score (all)",
    )
    parser.add_argument(
        "--mne",
        action="store_true",
        help="also score mne: music plus effects",
    )
    _add_mixture_consistency(parser)
    _add_chunks(
        parser,
        hop_seconds=0.5,
        hop_help="from chunk to chunk (%(default)s, the authors')",
    )
    _add_engine(parser)
    parser.add_argument(
        "--oracles",
        type=_names,
        default=["mixture", "irm", "psf"],
        metavar="A,B",
        help="rows beside the model: mixture, irm, wiener, iam, psf, ibm "
        "(mixture,irm,psf)",
    )
    parser.add_argument(
        "--museval",
        action="store_true",
        help="also score with museval (BSSEval v4), which takes long",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="processes for oracles and scores, beside the model's (none)",
    )
    parser.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help="only the first N tracks",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="only errors, no progress or table"
    )
    _add_backend(parser)


def build_parser():
    """Returns the `argparse` parser of all commands."""
    parser = _Parser(
        prog="keras-bandit",
        description="Separates the sound of films into dialogue, music and "
        "effects with BandIt and its relatives.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_separate(commands)
    presets = commands.add_parser(
        "presets", help="list the presets with their sizes"
    )
    presets.set_defaults(command=presets_command)
    _add_convert(commands)
    _add_prepare(commands)
    _add_evaluate(commands)
    return parser
