"""The directory: the control plane's store of cells, pools, tenants and the append-only log of their changes."""

from cellplane.directory.leadership import Leader, Leadership
from cellplane.directory.past import Past
from cellplane.directory.publications import StoredPublication
from cellplane.directory.records import Applied, Author, Change, ChangedTenant, Entry, Page, Placement, TenantRecord
from cellplane.directory.snapshot import Snapshot
from cellplane.directory.store import Directory

__all__ = [
    "Applied",
    "Author",
    "Change",
    "ChangedTenant",
    "Directory",
    "Entry",
    "Leader",
    "Leadership",
    "Page",
    "Past",
    "Placement",
    "Snapshot",
    "StoredPublication",
    "TenantRecord",
]
