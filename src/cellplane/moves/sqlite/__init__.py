"""Moves of tenants between cells whose databases are SQLite files that the mover can open."""
