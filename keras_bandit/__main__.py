"""`python -m keras_bandit` is the `keras-bandit` command."""

import sys

from keras_bandit.cli import main

sys.exit(main())
