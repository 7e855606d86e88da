"""Film-like mixtures of the user's own sounds, or of generated ones."""
