"""What stands around MRX's core, in NumPy; see `models/core_transforms.py`."""

import numpy as np

from keras_bandit.common.numpy_spectral import as_pairs, istft, stft


class MRXTransforms:
    """Spectrograms of several windows, and real masks of each.

    The core wants as many frames of all as the longest window's have.

    Args:
        stems: list of str.
        sources: list of str, the model's stems.
        window_lengths, hop_length, mixture_consistency: as in
            `MRXAudioSeparator`.
    """

    def __init__(
        self, stems, sources, window_lengths, hop_length, mixture_consistency
    ):
        self.stems = stems
        self.computed = sources if mixture_consistency else stems
        self.consistent = {"all": sources, "music_sfx": ["music", "sfx"]}.get(
            mixture_consistency, []
        )
        self.window_lengths = window_lengths
        self.hop_length = hop_length
        resolutions = range(len(window_lengths))
        self.inputs = [f"spectrogram_{r}" for r in resolutions]
        self.outputs = [
            f"mask_{stem}_{r}" for stem in self.computed for r in resolutions
        ]

    def start(self, waveform):
        spectrograms = [
            stft(waveform, n_fft, self.hop_length, "reflect")
            for n_fft in self.window_lengths
        ]
        longest = np.argmax(self.window_lengths)
        frames = spectrograms[longest].shape[2]
        inputs = [as_pairs(with_frames(x, frames)) for x in spectrograms]

        def finish(masks):
            estimates = {
                stem: sum(
                    istft(
                        x * with_frames(masks[f"mask_{stem}_{r}"], x.shape[2]),
                        self.window_lengths[r],
                        self.hop_length,
                        waveform.shape[-1],
                    )
                    for r, x in enumerate(spectrograms)
                )
                for stem in self.computed
            }
            if self.consistent:
                rest = waveform - sum(estimates.values())
                for stem in self.consistent:
                    estimates[stem] += rest / np.float32(len(self.consistent))
            return {stem: estimates[stem] for stem in self.stems}

        return dict(zip(self.inputs, inputs, strict=True)), finish


def with_frames(x, frames):
    """`(batch, channels, frames, …)` with one frame more or less, as
    `SameFrames`."""
    if x.shape[2] < frames:
        return np.concatenate([x, x[:, :, -1:]], axis=2)
    return x[:, :, :frames]
