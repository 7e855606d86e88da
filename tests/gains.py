"""Stands in for a separator where no Keras is needed."""


class Gains:
    """Each stem is the mixture, scaled. Has what `separate` asks for."""

    sample_rate = 8000
    chunk_seconds = 0.1
    min_samples = 256
    silent_in_silent_out = True

    def __init__(self, num_channels=None, gains=None):
        self.gains = gains or {"speech": 0.5, "music": 0.25, "effects": 0.125}
        self.num_channels = num_channels
        self.computed, self.shapes = [], []  # at each call

    @property
    def stems(self):
        return list(self.gains)

    def with_stems(self, stems):
        gains = {stem: self.gains[stem] for stem in stems}
        few = type(self)(self.num_channels, gains)
        few.computed, few.shapes = self.computed, self.shapes
        return few

    def predict_on_batch(self, batch):
        self.computed.append(self.stems)
        self.shapes.append(batch.shape)
        return {stem: gain * batch for stem, gain in self.gains.items()}
