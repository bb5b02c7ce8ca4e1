"""Routing: topology → routing table → decision. The reference for every other reader of the table."""

from cellplane.routing.compile import compile_table
from cellplane.routing.contents import PoolSlots, TableContents, TenantEntry
from cellplane.routing.decide import Decision, Refusal, RefusalCode, Route, decide
from cellplane.routing.encode import encode
from cellplane.routing.table import RoutingTable

__all__ = [
    "Decision",
    "PoolSlots",
    "Refusal",
    "RefusalCode",
    "Route",
    "RoutingTable",
    "TableContents",
    "TenantEntry",
    "compile_table",
    "decide",
    "encode",
]
