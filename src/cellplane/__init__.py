"""Cellplane: cell-based architecture for multi-tenant products."""

__version__ = "0.1.0"
