"""Index tables that let bands of unequal width share batched products."""

import dataclasses

import numpy as np
from keras import ops

from keras_bandit.backend import split

# A group's narrowest band has at least this share of its widest one. With 1/2
# Music 64 takes 6 groups; padding costs some of the products of band split and
# mask output, which are 4 % of the model.
MIN_WIDTH_RATIO = 0.5


@dataclasses.dataclass(frozen=True)
class BandGroup:
    """Bands of similar width, padded to the widest.

    In `index` is where each of a band's values stands in the flat order (band
    after band); padding points one past the last.
    """

    members: np.ndarray  # (size,) int, which bands
    index: np.ndarray  # (size, width) int
    valid: np.ndarray  # (size, width) float32, 1 for values, 0 for padding


def group_bands(sizes):
    """Sorts bands of these sizes, at least 1, into a few `BandGroup`s.

    The narrowest comes first.
    """
    sizes = np.asarray(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    total = starts[-1]
    groups = []
    remaining = np.argsort(sizes, kind="stable")[::-1]
    while len(remaining):
        widest = sizes[remaining[0]]
        inside = sizes[remaining] >= MIN_WIDTH_RATIO * widest
        members = np.sort(remaining[inside])
        offset = np.arange(widest)
        valid = offset < sizes[members, None]
        index = np.where(valid, starts[members, None] + offset, total)
        groups.append(BandGroup(members, index, valid.astype("float32")))
        remaining = remaining[~inside]
    return groups[::-1]


def band_positions(groups):
    """Where each band comes out when groups are concatenated, `(bands,)`."""
    return np.argsort(np.concatenate([g.members for g in groups]))


def padded_index(groups):
    """The groups' `(index, valid)` one after the other, flat.

    Padding goes on where its band ends, so that a band and its padding are
    one run, which is copied at once.
    """
    valid = np.concatenate([g.valid.ravel() for g in groups])
    index = np.concatenate(
        [(g.index[:, :1] + np.arange(g.index.shape[1])).ravel() for g in groups]
    )
    return np.minimum(index, int(valid.sum()) - 1), valid


def inverse_index(index, valid):
    """Inverse permutation: `index[inverse[v]] == v`; padding is ignored."""
    positions = np.flatnonzero(valid)
    return positions[np.argsort(index[positions])]


def split_groups(x, groups, rows=1):
    """Cuts a flat first axis into the groups' padded bands.

    `(rows * padded values of all groups, …)`, with `rows` entries for each
    value, to a list of `(size, rows * width, …)`.
    """
    shapes = [
        (group.index.shape[0], rows * group.index.shape[1], *x.shape[1:])
        for group in groups
    ]
    parts = split(x, [size * width for size, width, *_ in shapes])
    return [
        ops.reshape(part, shape)
        for part, shape in zip(parts, shapes, strict=True)
    ]
