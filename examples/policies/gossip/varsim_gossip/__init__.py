"""Gossip: replicas average their components with those of their neighbours on a ring."""

from varsim_gossip.policy import Gossip as Gossip
