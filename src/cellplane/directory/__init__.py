"""The directory: the control plane's store of cells, pools, tenants and the append-only log of their changes."""

from cellplane.directory.records import Change, Page
from cellplane.directory.store import Directory

__all__ = ["Change", "Directory", "Page"]
