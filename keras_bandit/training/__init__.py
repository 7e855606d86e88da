"""Training runs that can be repeated, interrupted and continued."""

from keras_bandit.training.alternating_stems import AlternatingStems
from keras_bandit.training.devices import open_devices
from keras_bandit.training.event_log import first_example
from keras_bandit.training.feature_cache import FeatureCache, cache_features
from keras_bandit.training.feature_learner import FeatureLearner
from keras_bandit.training.optimizer import paper_optimizer, paper_schedule
from keras_bandit.training.run import TrainingRun

__all__ = [
    "AlternatingStems",
    "FeatureCache",
    "FeatureLearner",
    "TrainingRun",
    "cache_features",
    "first_example",
    "open_devices",
    "paper_optimizer",
    "paper_schedule",
]
