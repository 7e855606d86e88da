"""Index tables: every value of every ragged band, exactly once."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from keras_bandit.layers.band_groups import (
    MIN_WIDTH_RATIO,
    band_positions,
    group_bands,
    inverse_index,
    padded_index,
    split_groups,
)

many = settings(max_examples=50, deadline=None, derandomize=True)
sizes_of_bands = st.lists(st.integers(1, 200), min_size=1, max_size=30)


@many
@given(sizes_of_bands)
@example([1])
@example([7, 7, 7])
@example([1, 1000])
def test_every_band_and_value_is_in_one_group(sizes):
    groups = group_bands(sizes)
    members = np.concatenate([group.members for group in groups])
    assert sorted(members) == list(range(len(sizes)))
    values = np.concatenate([g.index[g.valid > 0] for g in groups])
    assert sorted(values) == list(range(sum(sizes)))


@many
@given(sizes_of_bands)
def test_a_row_holds_its_band_and_padding(sizes):
    starts = np.cumsum([0, *sizes])
    for group in group_bands(sizes):
        for band, index, valid in zip(
            group.members, group.index, group.valid, strict=True
        ):
            size = sizes[band]
            assert index[:size].tolist() == list(
                range(starts[band], starts[band] + size)
            )
            assert (index[size:] == sum(sizes)).all()
            assert valid.tolist() == [1] * size + [0] * (len(index) - size)


@many
@given(sizes_of_bands)
def test_groups_waste_little_and_are_ordered(sizes):
    groups = group_bands(sizes)
    widths = [group.index.shape[1] for group in groups]
    assert widths == sorted(widths)
    for group, width in zip(groups, widths, strict=True):
        members = [sizes[band] for band in group.members]
        assert max(members) == width
        assert min(members) >= MIN_WIDTH_RATIO * width


@many
@given(sizes_of_bands)
def test_positions_undo_the_grouping(sizes):
    groups = group_bands(sizes)
    members = np.concatenate([group.members for group in groups])
    np.testing.assert_array_equal(
        members[band_positions(groups)], np.arange(len(sizes))
    )
    index, valid = padded_index(groups)
    np.testing.assert_array_equal(
        index[inverse_index(index, valid)], np.arange(sum(sizes))
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_groups_are_split_again(rows):
    groups = group_bands([3, 20, 5, 4, 1])
    parts = [
        np.stack([group.index] * rows, axis=1).reshape(len(group.members), -1)
        for group in groups
    ]
    flat = np.concatenate([part.ravel() for part in parts])
    split = split_groups(ops.convert_to_tensor(flat), groups, rows)
    for expected, actual in zip(parts, split, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(actual), expected)
