"""New decoders on a frozen encoder: what the transfer recipes share."""

from recipe import compile_model

from keras_bandit.training import (
    FeatureLearner,
    cache_features,
    first_example,
)


def train_decoders(
    recipe,
    run,
    build,
    stems,
    train,
    validation,
    callbacks=(),
    metrics=(),
    dtype="float32",
    **options,
):
    """Trains new decoders alone, or goes on.

    On random crops; or, if CONFIG has `cache_features`, on fixed chunks, for
    which the encoder is computed once and its features are kept in
    `--output/features`.

    Args:
        recipe: `Recipe`.
        run: `TrainingRun`. `best` and `last` get the decoders alone.
        build: function that returns the `AudioSeparator` to begin with.
        stems: list of str. The decoders to add and train.
        train, validation: sequences of `Track`.
        callbacks: Keras callbacks.
        metrics: Keras metrics beside SNR and SI-SNR.
        dtype: str. Type of the features that are kept.
        **options: as of `random_crops` and `validation_chunks`.

    Returns:
        The separator with the best of the decoders; its backbone is trainable
        again, and its metadata say what was trained.
    """
    config, devices = recipe.config, recipe.devices
    with devices.scope():
        separator = build()
        separator.backbone.trainable = False
        for stem in stems:
            separator = separator.add_decoder(stem)
        rate = separator.sample_rate
        chunks = recipe.chunks(validation, stems, rate, **options)
        how = {"callbacks": callbacks, "clip": first_example(chunks)}
        if config.get("cache_features"):
            learner = FeatureLearner(separator, stems)
            hop = config["crop_seconds"]
            fixed = recipe.chunks(train, stems, rate, hop, **options)
            folder = recipe.arguments.output / "features"
            parts = (fixed, folder / "train"), (chunks, folder / "validation")
            first, second = (
                cache_features(separator, part, path, dtype, devices)
                for part, path in parts
            )
            size, seed = config["batch_size"], recipe.arguments.seed
            data = (
                lambda epoch: first.batches(size, seed, epoch),
                second.batches(config["validation_batch_size"], seed=None),
            )
            how["steps_per_epoch"] = None  # all there are
        else:
            learner = separator.with_stems(stems)
            data = recipe.crops(train, stems, rate, **options), chunks

        def save(folder):
            for stem in stems:
                learner.save_decoder(stem, folder / f"{stem}.weights.h5")

        compile_model(learner, config, metrics)
        recipe.fit(run, learner, *data, save=save, **how)
        for stem in stems:
            separator.load_decoder(stem, run.best / f"{stem}.weights.h5")
    separator.backbone.trainable = True
    separator.metadata = run.describe_best(separator.metadata)
    return separator
