"""Benchmarks: the server as a program of its own, beside a peer, in one run. `python -m bench` prints the tables."""
