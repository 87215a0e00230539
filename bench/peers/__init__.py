"""Peers: the same three steps as others would write them, each in an environment of its own.

These programs run without a line of ours; `bench/peer_environments.py` installs and starts them.
"""
