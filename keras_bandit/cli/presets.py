"""`keras-bandit presets`: the table of architectures and weights."""

from keras_bandit.cli.console import say


def add_presets(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "presets", help="list the presets with their weights and sizes"
    )
    parser.set_defaults(command=presets_command)


def presets_command(args):
    """Runs `keras-bandit presets`; returns the exit status."""
    del args
    from keras_bandit.models.preset_table import preset_table

    say(preset_table())
    return 0
