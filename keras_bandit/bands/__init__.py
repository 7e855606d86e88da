"""Band layouts: which frequency bins each band of a model holds, and how much.

All layouts of the authors of BandIt and BSRNN are here, bin for bin, and the
microtonal one of the refined BSRNN. Needs NumPy alone.
"""

from keras_bandit.bands.band import Band, as_bands, check_bands
from keras_bandit.bands.find_layout import find_layout
from keras_bandit.bands.layouts import band_layout, layout_names
from keras_bandit.bands.plot import plot_bands

__all__ = [
    "Band",
    "as_bands",
    "band_layout",
    "check_bands",
    "find_layout",
    "layout_names",
    "plot_bands",
]
