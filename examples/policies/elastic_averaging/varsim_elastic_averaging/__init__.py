"""Elastic averaging: replicas and a centre copy attract each other."""

from varsim_elastic_averaging.policy import ElasticAveraging as ElasticAveraging
