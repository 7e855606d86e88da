"""Separation of many films on one machine or a cluster, with Ray.

A film is a task that can be repeated (`films`); actors keep the model
(`models`); `run` hands out films; `manifest` reads which, `places` where from
and where to.
"""
