"""MUSDB18-HQ, music with four stems."""
