"""What can go wrong outside of this app.

UnavailableError
├── DatabaseUnavailableError   PostgreSQL cannot be used now
│   └── OutboxUnavailableError   as many events wait in it as may
└── ProviderError              the provider did not take a notification

Where NATS JetStream cannot be used now, the SDK raises its BrokerUnavailableError.
"""


class UnavailableError(Exception):
    """Something outside of this app cannot be used now; the same call may work later."""


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL cannot be used now. Whether the operation took effect is unknown."""


class OutboxUnavailableError(DatabaseUnavailableError):
    """As many events wait to leave this cell as may. The operation, which had one to tell, was taken back."""


class ProviderError(UnavailableError):
    """The provider did not take a notification."""
