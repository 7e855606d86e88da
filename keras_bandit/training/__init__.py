"""Training runs that can be repeated, interrupted and continued."""

from keras_bandit.training.early_stopping import EarlyStopping
from keras_bandit.training.optimizer import paper_optimizer, paper_schedule
from keras_bandit.training.progress import Progress
from keras_bandit.training.run import TrainingRun

__all__ = [
    "EarlyStopping",
    "Progress",
    "TrainingRun",
    "paper_optimizer",
    "paper_schedule",
]
