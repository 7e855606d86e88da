"""Released weights by name: what they are and where, plain data, no Keras.

Names, sizes, checksums and licences as their records give them. No record was
opened while this list was made: where one says otherwise, it is right.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Record:
    """Where weights were released, and on which terms."""

    url: str  # of the folder of its files
    name: str  # DOI, or what else people know it by
    licence: str
    citation: str


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A checkpoint of a record."""

    name: str
    checksum: str | None = None  # "md5:…", "sha256:…", or how it begins
    size: int | None = None  # bytes


@dataclasses.dataclass(frozen=True)
class ReleasedWeights:
    """Checkpoints that together are a preset."""

    name: str
    architecture: str  # name of the preset that they are weights of
    description: str  # one line
    record: Record
    files: tuple  # of WeightsFile
    settings: dict = dataclasses.field(default_factory=dict)
    """Of `from_checkpoint`, where the files do not say."""
    stems: list | None = None  # where they are others than the architecture's
    bag: dict | None = None  # what Demucs's file of a bag says beside `models`

    @property
    def size(self):
        """Bytes of all files, or `None` if it is not known of one."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(sizes)


def _zenodo(number, licence, citation):
    return Record(
        f"https://zenodo.org/records/{number}/files",
        f"10.5281/zenodo.{number}",
        licence,
        citation,
    )


BANDIT = _zenodo(
    10160698,
    "CC-BY-NC-4.0",
    "Watcharasupat et al., A Generalized Bandsplit Neural Network for Cinematic "
    "Audio Source Separation, IEEE OJSP 2024, arXiv:2309.02539",
)
BANDIT_V2 = _zenodo(
    12701995,
    "CC-BY-SA-4.0",
    "Watcharasupat, Wu, Orife, Remastering Divide and Remaster, 2024, "
    "arXiv:2407.07275",
)
FACING_THE_MUSIC = _zenodo(
    13327983,
    "CC-BY-NC-4.0",
    "Watcharasupat, Wu, Orife, Facing the Music: Tackling Singing Voice "
    "Separation in Cinematic Audio Source Separation, 2024, arXiv:2408.03588",
)
_OPEN_UNMIX = (
    "Stöter, Uhlich, Liutkus, Mitsufuji, Open-Unmix - A Reference "
    "Implementation for Music Source Separation, JOSS 2019, "
    "doi:10.21105/joss.01667"
)
_MIT = "MIT (its repository's)"
UMXHQ = _zenodo(3370489, _MIT, _OPEN_UNMIX)
UMX = _zenodo(3370486, _MIT, _OPEN_UNMIX)
UMXL = _zenodo(5069601, "CC-BY-NC-SA-4.0", _OPEN_UNMIX)
UMXSE = _zenodo(3786908, _MIT, _OPEN_UNMIX)


def _demucs(folder):
    return Record(
        f"https://dl.fbaipublicfiles.com/demucs/{folder}",
        "the file server of Demucs's authors",
        "none given (demucs issue 327)",
        "Défossez, Hybrid Spectrogram and Waveform Source Separation, 2021, "
        "arXiv:2111.03600",
    )


HTDEMUCS = dataclasses.replace(
    _demucs("hybrid_transformer"),
    citation="Rouard, Massa, Défossez, Hybrid Transformers for Music Source "
    "Separation, ICASSP 2023, arXiv:2211.08553",
)

MRX = Record(
    "https://github.com/merlresearch/cocktail-fork-separation/raw/main/"
    "checkpoints",
    "merlresearch/cocktail-fork-separation",
    "MIT",
    "Petermann, Wichern, Wang, Le Roux, The Cocktail Fork Problem, ICASSP "
    "2022, arXiv:2110.09958",
)


def _bandit(file, size, md5, name=None):
    """A model of BandIt's Table 1, by the middle of its file's name."""
    layout, loss = file.split("-", 1)
    architecture = "bandit_" + layout.replace("mus", "musical")
    ending = "" if loss == "l1snr" else f"_{loss}"
    return ReleasedWeights(
        name or f"{architecture}{ending}_dnr",
        architecture,
        "BandIt+ of BandIt's authors, for DnR v2."
        if name
        else f"Of BandIt's authors, for DnR v2, trained with {loss.upper()}.",
        BANDIT,
        (WeightsFile(f"dnr-3s-{file}.ckpt", f"md5:{md5}", size),),
    )


def _bsrnn(kind, **stems):
    """Three models of one stem each; sizes and MD5s."""
    return ReleasedWeights(
        f"bsrnn_{kind}_vox7_dnr",
        f"bsrnn_{kind}_vox7",
        "Of BandIt's authors, for DnR v2: three files, joined.",
        BANDIT,
        tuple(
            WeightsFile(
                f"dnr-bsrnn-{kind}-vox7-l1-{stem}.ckpt", f"md5:{md5}", size
            )
            for stem, (size, md5) in stems.items()
        ),
    )


def _v2(name, description, record, file, md5, size=446680129, stems=None):
    return ReleasedWeights(
        f"bandit_v2_{name}",
        "bandit_v2_musical64",
        description,
        record,
        (WeightsFile(file, f"md5:{md5}", size),),
        stems=stems,
    )


def _named(name, architecture, description, record, *files, **more):
    """Files whose names or authors give the beginning of their SHA-256."""
    files = [WeightsFile(f, f"sha256:{digits}") for f, digits in files]
    return ReleasedWeights(
        name, architecture, description, record, tuple(files), **more
    )


def _umx(name, architecture, data, record, joint="-", hop_length=1024, **stems):
    return _named(
        name,
        architecture,
        f"Of Open-Unmix's authors, for {data}.",
        record,
        *((f"{s}{joint}{digits}.pth", digits) for s, digits in stems.items()),
        settings={"hop_length": hop_length},
    )


def _mrx(kind, digits, description):
    file = f"{kind}_mrx_pre_trained_weights.pth"
    return _named(f"mrx_{kind}", "mrx", description, MRX, (file, digits))


def _bag(name, architecture, description, record, *files, **says):
    files = ((file, file[-11:-3]) for file in files)
    return _named(name, architecture, description, record, *files, bag=says)


RELEASED = [
    _bandit(
        "mus64-l1snr-plus",
        446403715,
        "aac7e202a91de2c354a18606236a8038",
        name="bandit_plus_dnr",
    ),
    _bandit("mus64-l1snr", 446386115, "db5fbc961b47c99a5a0af01520a99be1"),
    _bandit("mus48-l1snr", 404244083, "62cddbe0b8e3e5138b6c5610b2df5d3b"),
    _bandit("bark64-l1snr", 993738115, "b3b576a56ecbc602bb191fabaa931480"),
    _bandit("bark48-l1snr", 775537139, "947cd46348d4a613d72e5c027de96146"),
    _bandit("erb64-l1snr", 433648131, "90f29625abb9cb54ae87ebe792f8c364"),
    _bandit("erb48-l1snr", 393210291, "af4f36d425d346ddd51044e9d914a37e"),
    _bandit("mel64-l1snr", 582296643, "64c954360ed619f1f9bf104b95097be8"),
    _bandit("mel48-l1snr", 394672243, "7000623e417357fe87587bb153f0bddc"),
    _bandit("tribark64-l1snr", 434037763, "3007849d38a324af12da5142b178619b"),
    _bandit("tribark48-l1snr", 393667827, "f6017910bb15ec81002c590002bd131d"),
    _bandit("vox7-l1snr", 309531899, "9a228a567fc34a8748e804b481fa9978"),
    _bandit("vox7-l2snr", 309531899, "96038d1864ff9fd8b484a725ead7e4eb"),
    _bandit("vox7-l1", 311648954, "37d75d407aaef41e17b240b83128aa51"),
    _bandit("vox7-l2", 309531963, "00d913a43291e517bb8c5eb0bf54e27b"),
    _bsrnn(
        "gru8",
        speech=(189972555, "b112a06103f68b7642e63359842e151f"),
        music=(189971339, "feecf2a07d56c2dc5a7ac795d75d6326"),
        effects=(189973707, "539fa470e533ff955d56f162750f0285"),
    ),
    _bsrnn(
        "lstm12",
        speech=(310242691, "2087dd4abe0513063f3439f1c8bd5620"),
        music=(310241347, "b70e7074b0d8efbe92a84c0f15330526"),
        effects=(310243971, "c575201c73492586e15bb12351651e72"),
    ),
    *(
        _v2(
            code,
            f"For DnR v3: {name}.",
            BANDIT_V2,
            f"checkpoint-{code}.ckpt",
            md5,
        )
        for code, name, md5 in (
            ("multi", "all languages", "fea2868787551b0cff36cfcf7c3622a3"),
            ("eng", "English", "9b74787e7f752709ce986ba1b1ac29a9"),
            ("deu", "German", "899dba0f7d4ead63f2c11d1ba45b3387"),
            ("fra", "French", "60613898c0700f7c5aa64012cfa37bca"),
            ("spa", "Spanish", "f724266793e1a4f6f76a8bb527e1c7c9"),
            ("cmn", "Mandarin", "8e57ed0ad89217342482d74ddefa4f25"),
            ("fao", "Faroese", "66c1a2e595e1fab3962b6f28d9e8b2fa"),
        )
    ),
    _v2(
        "combined",
        "Facing the Music: three stems.",
        FACING_THE_MUSIC,
        "bandit-combined.ckpt",
        "d04760e77bb947668d8f5582d36b45a0",
    ),
    _v2(
        "split",
        "Facing the Music: singing is a stem of its own.",
        FACING_THE_MUSIC,
        "bandit-split.ckpt",
        "e9f9054a452cb86b30a6f705266dbd7c",
        551004479,
        ["speech", "music_instrumental", "music_vocals", "sfx"],
    ),
    # What the record says of these two files is not known here.
    ReleasedWeights(
        "demucs_dnr",
        "hybrid_demucs_dnr",
        "Of BandIt's authors, for DnR v2.",
        BANDIT,
        (WeightsFile("dnr-demucs.ckpt"),),
    ),
    ReleasedWeights(
        "umxhq_dnr",
        "open_unmix_dnr",
        "Of BandIt's authors, for DnR v2.",
        BANDIT,
        (WeightsFile("dnr-umxhq.ckpt"),),
    ),
    _umx(
        "umxhq",
        "open_unmix_hq",
        "MUSDB18-HQ",
        UMXHQ,
        vocals="b62c91ce",
        drums="9619578f",
        bass="8d85a5bd",
        other="b52fbbf7",
    ),
    _umx(
        "umx",
        "open_unmix_hq",
        "MUSDB18",
        UMX,
        vocals="c8df74a5",
        drums="5a48008b",
        bass="646024d3",
        other="f8e132cc",
    ),
    _umx(
        "umxl",
        "open_unmix_l",
        "music, from stems of their own",
        UMXL,
        vocals="bccbd9aa",
        drums="69e0ebd4",
        bass="2ca1ce51",
        other="c8c5b3e6",
    ),
    _umx(
        "umxse",
        "open_unmix_speech",
        "speech in noise",
        UMXSE,
        "_",
        512,
        speech="f5e0d9f9",
        noise="04a6fc2d",
    ),
    _mrx("default", "9cecc071", "Of MRX's authors, for DnR."),
    _mrx(
        "paper", "e206fe97", "The MRX paper's; the level of stems is arbitrary."
    ),
    _mrx(
        "adapted_loudness", "4bc4eabf", "MRX adapted to the loudness of films."
    ),
    _mrx("adapted_eq", "e49928fc", "MRX adapted to the spectrum of films."),
    _bag(
        "hdemucs_mmi",
        "hybrid_demucs_musdb18",
        "Of Demucs's authors, from 800 songs.",
        _demucs("hybrid_transformer"),
        "75fc33f5-1941ce65.th",
        segment=44,
    ),
    _bag(
        "mdx_extra",
        "hybrid_demucs_musdb18",
        "Of Demucs's authors, a bag of four.",
        _demucs("mdx_final"),
        "e51eebcc-c1b80bdd.th",
        "a1d90b5c-ae9d2452.th",
        "5d2d6c55-db83574e.th",
        "cfa93e08-61801ae1.th",
        segment=44,
    ),
    _named(
        "htdemucs",
        "htdemucs",
        "HTDemucs (Demucs v4) for music.",
        HTDEMUCS,
        ("955717e8-8726e21a.th", "8726e21a"),
    ),
    _named(
        "htdemucs_6s",
        "htdemucs_6s",
        "HTDemucs for six stems of music.",
        HTDEMUCS,
        ("5c90dfd2-34c22ccb.th", "34c22ccb"),
    ),
    _bag(
        "htdemucs_ft",
        "htdemucs",
        "HTDemucs, a bag of four, each finetuned for a stem.",
        HTDEMUCS,
        "f7e0c4bc-ba3fe64a.th",
        "d12395a8-e57c48e6.th",
        "92cfc3b6-ef3bcb9c.th",
        "04573f0d-f3cf25b2.th",
        weights=[[float(i == j) for j in range(4)] for i in range(4)],
    ),
]
