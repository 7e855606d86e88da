"""Evaluation on whole tracks: oracles, scores, tables and plots.

Needs no Keras beside the model's own, so that the processes which compute
oracles and scores start fast and leave a GPU alone.
"""

from keras_bandit.evaluation.evaluate import evaluate
from keras_bandit.evaluation.oracles import ORACLES, oracle_estimate
from keras_bandit.evaluation.scores import METRICS

__all__ = ["METRICS", "ORACLES", "evaluate", "oracle_estimate"]
