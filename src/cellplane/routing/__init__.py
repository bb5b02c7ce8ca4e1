"""Routing: topology → routing table → decision. The reference for every other reader of the table."""

from cellplane.routing.columns import TenantColumns, TenantEntry
from cellplane.routing.compile import compile_table
from cellplane.routing.contents import OverlayContents, PoolSlots, TableContents
from cellplane.routing.decide import Decision, Refusal, RefusalCode, Route, decide
from cellplane.routing.encode import encode, encode_overlay
from cellplane.routing.table import RoutingTable

__all__ = [
    "Decision",
    "OverlayContents",
    "PoolSlots",
    "Refusal",
    "RefusalCode",
    "Route",
    "RoutingTable",
    "TableContents",
    "TenantColumns",
    "TenantEntry",
    "compile_table",
    "decide",
    "encode",
    "encode_overlay",
]
