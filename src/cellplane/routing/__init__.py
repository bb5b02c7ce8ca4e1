"""Routing: topology → routing table → decision. The reference for every other reader of the table."""

from cellplane.routing.columns import TenantColumns, TenantEntry
from cellplane.routing.compile import PlacedTenants, compile_overlay, compile_table
from cellplane.routing.contents import OverlayContents, PoolSlots, TableContents
from cellplane.routing.decide import Decision, Redirect, Refusal, RefusalCode, Route, decide, decide_request
from cellplane.routing.decide_many import Decisions, decide_many
from cellplane.routing.encode import encode, encode_overlay
from cellplane.routing.frame import epoch_said, split_publication
from cellplane.routing.jurisdictions import check_jurisdictions
from cellplane.routing.keys import RequestKeys
from cellplane.routing.policies import CanaryRow, PolicyRow
from cellplane.routing.table import RoutingTable

__all__ = [
    "CanaryRow",
    "Decision",
    "Decisions",
    "OverlayContents",
    "PlacedTenants",
    "PolicyRow",
    "PoolSlots",
    "Redirect",
    "Refusal",
    "RefusalCode",
    "RequestKeys",
    "Route",
    "RoutingTable",
    "TableContents",
    "TenantColumns",
    "TenantEntry",
    "check_jurisdictions",
    "compile_overlay",
    "compile_table",
    "decide",
    "decide_many",
    "decide_request",
    "encode",
    "encode_overlay",
    "epoch_said",
    "split_publication",
]
