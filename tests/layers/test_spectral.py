"""STFT and ISTFT: the formula, and each other's inverse to the edges."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_bandit.common.numpy_spectral import count_frames
from keras_bandit.layers import ISTFT, STFT

from ..called import called

few = settings(max_examples=4, deadline=None, derandomize=True)


@st.composite
def transforms(draw):
    """`(n_fft, hop_length, pad_mode, samples)`, the shortest inputs too."""
    n_fft = 2 * draw(st.integers(1, 48))
    hop = draw(st.integers(1, n_fft // 2))
    pad_mode = draw(st.sampled_from(["constant", "reflect"]))
    shortest = 1 if pad_mode == "constant" else n_fft // 2 + 1
    return n_fft, hop, pad_mode, draw(st.integers(shortest, 300))


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, shape).astype("float32")


def run(layer, *inputs):
    return ops.convert_to_numpy(called(layer, *inputs))


def hann(n_fft):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def numpy_stft(waveform, n_fft, hop_length, pad_mode):
    """The definition, frame by frame, in float64."""
    half = n_fft // 2
    padded = np.pad(
        waveform.astype("float64"), [(0, 0), (0, 0), (half, half)], pad_mode
    )
    n = np.arange(n_fft)
    fourier = np.exp(-2j * np.pi * np.outer(n, np.arange(half + 1)) / n_fft)
    window = hann(n_fft)
    samples = waveform.shape[-1]
    # One frame more where the last sample is far behind the last centre.
    count = 1 + samples // hop_length
    count += samples - 1 - (count - 1) * hop_length > n_fft * 7 // 16
    padded = np.pad(padded, [(0, 0), (0, 0), (0, hop_length)])
    frames = [
        (padded[..., start : start + n_fft] * window) @ fourier
        for start in range(0, count * hop_length, hop_length)
    ]
    spectrum = np.stack(frames, axis=2) / np.sqrt(np.sum(window**2))
    return np.stack([spectrum.real, spectrum.imag], axis=-1)


def numpy_istft(spectrogram, n_fft, hop_length, samples):
    """Overlap-add of windowed frames over that of squared windows."""
    window = hann(n_fft)
    spectrum = spectrogram[..., 0] + 1j * spectrogram[..., 1]
    frames = np.fft.irfft(spectrum, n_fft) * np.sqrt(np.sum(window**2))
    length = n_fft + (frames.shape[2] - 1) * hop_length
    summed, energy = np.zeros((*frames.shape[:2], length)), np.zeros(length)
    for t in range(frames.shape[2]):
        here = slice(t * hop_length, t * hop_length + n_fft)
        summed[..., here] += window * frames[:, :, t]
        energy[here] += window**2
    cut = slice(n_fft // 2, n_fft // 2 + samples)
    return summed[..., cut] / energy[cut]


def test_check_stft(check_layer):
    for pad_mode in ("constant", "reflect"):
        check_layer(
            lambda pad_mode=pad_mode, **kwargs: STFT(16, 4, pad_mode, **kwargs),
            noise(2, 2, 37),
            unknown_axes=(0, 2),
            always_float32=True,
        )


def test_check_istft(check_layer):
    check_layer(
        lambda **kwargs: ISTFT(16, 4, **kwargs),
        noise(2, 2, 10, 9, 2),
        noise(2, 2, 37),
        unknown_axes=(0, 2),
        always_float32=True,
    )


def test_check_istft_of_whole_frames(check_layer):
    check_layer(
        lambda **kwargs: ISTFT(16, 4, **kwargs),
        noise(2, 1, 10, 9, 2),
        unknown_axes=(0, 2),
        always_float32=True,
    )


@few
@given(transforms())
def test_formulas_and_round_trip_to_the_edges(transform):
    # One test of three: on JAX each new shape costs seconds to compile.
    n_fft, hop, pad_mode, samples = transform
    waveform = noise(1, 2, samples)
    stft, istft = STFT(n_fft, hop, pad_mode), ISTFT(n_fft, hop)

    spectrogram = run(stft, waveform)
    expected = numpy_stft(waveform, n_fft, hop, pad_mode)
    # Bins are up to 2; an FFT in float32 errs by a few 1e-7.
    np.testing.assert_allclose(spectrogram, expected, rtol=0, atol=5e-6)

    result = run(istft, spectrogram, waveform)
    # Float32 leaves 1e-7, and more at the last samples, where the summed
    # squared windows are down to 1/16.
    np.testing.assert_allclose(result, waveform, rtol=0, atol=5e-6)

    # A masked spectrogram is nobody's STFT: its frames disagree.
    masked = spectrogram * noise(*spectrogram.shape)
    expected = numpy_istft(masked, n_fft, hop, samples)
    np.testing.assert_allclose(
        run(istft, masked, waveform), expected, rtol=0, atol=5e-6
    )


# Hops of published models, and the longest, for which one frame is added.
@pytest.mark.parametrize(
    ("hop", "frames"), [(512, 12), (441, 14), (1024, 6), (1000, 7)]
)
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_round_trip_at_the_size_of_the_models(pad_mode, hop, frames):
    waveform = noise(1, 1, 6001)
    spectrogram = STFT(2048, hop, pad_mode)(waveform)
    assert spectrogram.shape == (1, 1, frames, 1025, 2)
    result = run(ISTFT(2048, hop), spectrogram, waveform)
    np.testing.assert_allclose(result, waveform, rtol=0, atol=1e-5)


def test_istft_without_waveform_takes_whole_hops():
    spectrogram = noise(2, 1, 7, 9, 2)
    waveform = noise(2, 1, 27)
    whole = run(ISTFT(16, 4), spectrogram)
    assert whole.shape == (2, 1, 24)
    longer = run(ISTFT(16, 4), spectrogram, waveform)
    np.testing.assert_array_equal(longer[..., :24], whole)


def test_istft_ignores_imaginary_parts_of_first_and_last_bin():
    spectrogram = noise(1, 1, 5, 9, 2)
    real = spectrogram.copy()
    real[..., [0, -1], 1] = 0
    np.testing.assert_allclose(
        run(ISTFT(16, 4), spectrogram), run(ISTFT(16, 4), real), atol=1e-6
    )


def test_white_noise_keeps_its_scale():
    rng = np.random.default_rng(0)
    waveform = rng.normal(0, 0.3, (1, 1, 40000)).astype("float32")
    bins = run(STFT(64, 16), waveform)[..., 1:-1, :]
    # 2500 frames of 31 bins, two in five independent: 0.4 % of deviation.
    for part in range(2):
        assert np.std(bins[..., part]) == pytest.approx(
            0.3 / np.sqrt(2), rel=0.02
        )


def test_energy_is_kept():
    # Squared windows sum to (sum w²) / hop, so by Parseval the two-sided
    # spectrogram has n_fft / hop times the waveform's energy.
    waveform = np.pad(noise(1, 1, 500), [(0, 0), (0, 0), (64, 64)])
    power = np.sum(run(STFT(64, 16), waveform) ** 2, axis=(0, 1, 2, 4))
    two_sided = 2 * power.sum() - power[0] - power[-1]
    assert two_sided == pytest.approx(4 * np.sum(waveform**2), rel=1e-5)


def test_stft_is_linear():
    first, second = noise(1, 1, 200, seed=1), noise(1, 1, 200, seed=2)
    stft = STFT(32, 8)
    np.testing.assert_allclose(
        run(stft, 0.5 * first - 2 * second),
        0.5 * run(stft, first) - 2 * run(stft, second),
        atol=5e-6,
    )


@pytest.mark.parametrize("bin_index", [0, 2, 5, 30, 32])
def test_tone_lands_in_its_bin(bin_index):
    n = np.arange(640)
    tone = np.cos(2 * np.pi * bin_index * n / 64).astype("float32")
    bins = run(STFT(64, 16, "reflect"), tone[None, None])[0, 0]
    magnitude = np.hypot(bins[..., 0], bins[..., 1])
    assert (magnitude.argmax(axis=-1) == bin_index).all()
    # A Hann window leaks into the neighbours only.
    far = np.abs(np.arange(33) - bin_index) > 1
    assert magnitude[2:-2, far].max() < 1e-5 * magnitude.max()


def test_channels_and_items_are_independent():
    waveform = noise(2, 2, 50)
    together = run(STFT(16, 4), waveform)
    for item, channel in np.ndindex(2, 2):
        alone = run(STFT(16, 4), waveform[item, channel][None, None])
        np.testing.assert_allclose(
            together[item, channel], alone[0, 0], atol=1e-6
        )


def test_silence_stays_silent():
    silence = np.zeros((1, 1, 33), "float32")
    spectrogram = STFT(16, 4)(silence)
    assert not ops.convert_to_numpy(spectrogram).any()
    assert not run(ISTFT(16, 4), spectrogram, silence).any()


def test_one_sample():
    waveform = np.full((1, 1, 1), 0.7, "float32")
    spectrogram = STFT(16, 4)(waveform)
    assert spectrogram.shape == (1, 1, 1, 9, 2)
    result = run(ISTFT(16, 4), spectrogram, waveform)
    np.testing.assert_allclose(result, waveform, atol=1e-6)


@pytest.mark.parametrize("layer", [STFT, ISTFT])
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((15, 5), "n_fft must be even and positive; got n_fft=15"),
        ((0, 1), "n_fft must be even and positive; got n_fft=0"),
        ((16, 9), "hop_length must be 1 … n_fft / 2.*hop_length=9, n_fft=16"),
        ((16, 0), "hop_length must be 1 … n_fft / 2; got hop_length=0"),
    ],
)
def test_sizes_outside_the_range(layer, sizes, message):
    with pytest.raises(ValueError, match=message):
        layer(*sizes)


def test_unknown_pad_mode():
    with pytest.raises(ValueError, match=r"one of constant, reflect.*'edge'"):
        STFT(16, 4, pad_mode="edge")


def test_reflection_of_too_short_an_input():
    with pytest.raises(ValueError, match=r"more than n_fft // 2 = 8.*got 8"):
        STFT(16, 4, pad_mode="reflect")(noise(1, 1, 8))


def test_waveform_longer_than_its_frames():
    spectrogram = noise(1, 1, 3, 9, 2)
    assert run(ISTFT(16, 4), spectrogram, noise(1, 1, 11)).shape == (1, 1, 11)
    with pytest.raises(ValueError, match=r"at most 11 samples.*3 frames"):
        ISTFT(16, 4)(spectrogram, noise(1, 1, 12))


def test_as_many_frames_as_torch():
    """Without the extra frame; ISTFT is torch's as far as the window reaches."""
    n_fft, hop = 64, 32
    layer = STFT(n_fft, hop, pad_mode="reflect", extra_frame=False)
    window = torch.hann_window(n_fft)
    counts = []
    for samples in range(200, 200 + hop):
        waveform = noise(1, 1, samples)
        spectrum = torch.stft(
            torch.tensor(waveform[0]),
            n_fft,
            hop,
            window=window,
            return_complex=True,
        )
        expected = torch.view_as_real(spectrum.mT).numpy()[None]
        expected /= np.sqrt(np.sum(hann(n_fft) ** 2))
        assert layer.compute_output_shape((1, 1, samples)) == expected.shape
        counts.append(count_frames(samples, n_fft, hop) - expected.shape[2])
        if samples % hop in (0, hop - 1):
            ours = run(layer, waveform)
            np.testing.assert_allclose(ours, expected, atol=1e-5)
            # What the last window hardly holds is not magnified beyond this.
            other = noise(*ours.shape)
            frames = np.fft.irfft(other[..., 0] + 1j * other[..., 1], n_fft)
            most = 32 * np.abs(frames).max() * np.sqrt(np.sum(hann(n_fft) ** 2))
            assert np.abs(run(ISTFT(n_fft, hop), other, waveform)).max() < most
            back = run(ISTFT(n_fft, hop), ours, waveform)
            good = slice(0, samples - hop // 8)
            np.testing.assert_allclose(
                back[..., good], waveform[..., good], atol=1e-5
            )
    # `STFT` has a frame more at one length of sixteen, of longer windows one
    # of eight.
    assert sum(counts) == 2


def test_inputs_of_another_shape():
    with pytest.raises(ValueError, match=r"expected ndim=3, found ndim=2"):
        STFT(16, 4)(noise(1, 50))
    with pytest.raises(ValueError, match=r"expected axis 3.*value 9"):
        ISTFT(16, 4)(noise(1, 1, 3, 17, 2))
