"""A recipe on two devices: `share_recipe.py NAME PRESET FOLDER`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import test_training_recipes as small

if __name__ == "__main__":
    name, preset, folder = sys.argv[1:]
    recipe = small.read_recipe(name)
    recipe.open_tracks = small.prepared
    small.run_shared(recipe, Path(folder), preset, devices=2)
