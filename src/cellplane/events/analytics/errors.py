"""What the analytics raise.

AnalyticsError
├── StoreError         the store cannot be used
│   └── StoreLockedError  another process has the file
└── QueryError         what was asked for cannot be answered
"""

from cellplane.errors import CellplaneError


class AnalyticsError(CellplaneError):
    """Events cannot be counted, or what was counted cannot be shown."""


class StoreError(AnalyticsError):
    """The store cannot be used."""


class StoreLockedError(StoreError):
    """Another process has the file: of DuckDB, one writes, or many read."""


class QueryError(AnalyticsError):
    """What was asked for cannot be answered."""
