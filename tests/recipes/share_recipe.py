"""`transfer_mne` on two devices: `share_recipe.py PRESET FOLDER`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import two_devices

if __name__ == "__main__":
    two_devices.split_cpu()

import test_training_recipes as small

if __name__ == "__main__":
    recipe = small.read_recipe("transfer_mne")
    recipe.open_tracks = small.prepared
    preset, folder = sys.argv[1:]
    small.run_shared(recipe, Path(folder), preset, devices=2)
