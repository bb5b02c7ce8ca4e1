"""The directory: the control plane's store of cells, pools, tenants and the append-only log of their changes."""

from cellplane.directory.records import Applied, Change, ChangedTenant, Entry, Page, Placement, TenantRecord
from cellplane.directory.snapshot import Snapshot
from cellplane.directory.store import Directory

__all__ = ["Applied", "Change", "ChangedTenant", "Directory", "Entry", "Page", "Placement", "Snapshot", "TenantRecord"]
