"""`python -m keras_bandit` is the `keras-bandit` command."""

from keras_bandit.cli import run

run()
