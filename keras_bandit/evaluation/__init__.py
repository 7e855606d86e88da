"""Evaluation on whole tracks: oracles, scores, tables and plots."""

from keras_bandit.evaluation.comparison import compare
from keras_bandit.evaluation.evaluate import evaluate
from keras_bandit.evaluation.oracles import ORACLES, oracle_estimate
from keras_bandit.evaluation.scores import METRICS

__all__ = ["METRICS", "ORACLES", "compare", "evaluate", "oracle_estimate"]
