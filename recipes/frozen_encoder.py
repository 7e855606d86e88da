"""New decoders on a frozen encoder: what the transfer recipes share."""

from recipe import compile_model

from keras_bandit.training import (
    FeatureLearner,
    cache_features,
    first_example,
)


def _cached_batches(recipe, separator, train, validation, dtype):
    """Features of chunks, computed once, as `recipe.fit` takes its data."""
    kept = [
        cache_features(
            separator,
            chunks,
            recipe.arguments.output / "features" / name,
            dtype=dtype,
            devices=recipe.devices,
        )
        for name, chunks in (("train", train), ("validation", validation))
    ]
    size, seed = recipe.config["batch_size"], recipe.arguments.seed
    return (
        lambda epoch: kept[0].batches(size, seed, epoch),
        kept[1].batches(recipe.config["validation_batch_size"], seed=None),
    )


def train_decoders(
    recipe,
    run,
    separator,
    stems,
    train,
    validation,
    callbacks=(),
    dtype="float32",
    **options,
):
    """Trains decoders alone, or goes on.

    On random crops; or, if CONFIG has `cache_features`, on fixed chunks, for
    which the encoder is computed once and its features are kept in
    `--output/features`.

    Args:
        recipe: `Recipe`.
        run: `TrainingRun`. `best` and `last` get the decoders alone.
        separator: `AudioSeparator` with the decoders, its backbone frozen.
        stems: list of str. The decoders to train.
        train, validation: sequences of `Track`.
        callbacks: Keras callbacks.
        dtype: str. Type of the features that are kept.
        **options: as of `random_crops` and `validation_chunks`.

    Returns:
        The separator with the best of the decoders; its backbone is trainable
        again, and its metadata say what was trained.
    """
    rate = separator.sample_rate
    chunks = recipe.chunks(validation, stems, rate, **options)
    how = {"callbacks": callbacks, "clip": first_example(chunks)}
    if recipe.config.get("cache_features"):
        learner = FeatureLearner(separator, stems)
        hop = recipe.config["crop_seconds"]
        fixed = recipe.chunks(train, stems, rate, hop, **options)
        data = _cached_batches(recipe, separator, fixed, chunks, dtype)
        how["steps_per_epoch"] = None  # all there are
    else:
        learner = separator.with_stems(stems)
        data = recipe.crops(train, stems, rate, **options), chunks

    def save(folder):
        for stem in stems:
            learner.save_decoder(stem, folder / f"{stem}.weights.h5")

    compile_model(learner, recipe.config)
    recipe.fit(run, learner, *data, save=save, **how)
    for stem in stems:
        separator.load_decoder(stem, run.best / f"{stem}.weights.h5")
    separator.backbone.trainable = True
    separator.metadata = run.describe_best(separator.metadata)
    return separator
