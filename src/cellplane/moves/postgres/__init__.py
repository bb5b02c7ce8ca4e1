"""Moves between PostgreSQL databases, by their own logical replication."""
