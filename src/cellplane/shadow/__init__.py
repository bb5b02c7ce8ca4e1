"""Two answers to one request, the cell's and its shadow's: whether they are the same, and what is told of it.

Functions over frozen values, without I/O or clock. No value of an answer leaves this package: what is told are paths,
kinds and lengths.
"""
