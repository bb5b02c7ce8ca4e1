"""Live moves: one tenant from a cell to another, while it is being written to.

``tables`` says of a database's tables which can be moved, and why others cannot (pure); ``mover`` is the interface to
a cell's store; ``postgres/`` implements it with PostgreSQL's own logical replication.
"""
