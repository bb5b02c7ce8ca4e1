"""Counts what all cells' events say, outside of every cell: by day, tenant, cell and type, in DuckDB or PostgreSQL.

``cellplane analytics consume`` runs it, ``cellplane analytics query`` shows what it counted.
"""

from cellplane.events.analytics.errors import AnalyticsError, QueryError, StoreError, StoreLockedError
from cellplane.events.analytics.settings import AnalyticsSettings

__all__ = ["AnalyticsError", "AnalyticsSettings", "QueryError", "StoreError", "StoreLockedError"]
