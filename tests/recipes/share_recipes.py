"""Two recipes on two devices: `share_recipes.py PRESET FOLDER`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))

import finetune_semi_supervised
import recipe
import small
import transfer_mne

if __name__ == "__main__":
    preset, folder = map(Path, sys.argv[1:])
    recipe.open_tracks = small.prepared
    for module in (transfer_mne, finetune_semi_supervised):
        small.run_shared(module, folder, preset, devices=2)
