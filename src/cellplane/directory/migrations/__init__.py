"""The directory's schema, one step a file: ``versions/NNNN_what.py``. Alembic runs them, in order, each once."""
