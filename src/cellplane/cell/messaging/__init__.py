"""Queues within a cell: subjects and topics that carry its id, the tenant's context in every message, dead letters.

``cellplane.cell.messaging.jetstream`` speaks to NATS JetStream (extra ``nats``), ``cellplane.cell.messaging.kafka`` to
Kafka (extra ``kafka``); this package alone needs neither.
"""

from cellplane.cell.messaging.handling import run_together
from cellplane.cell.messaging.message import CellMessage, DeadReason
from cellplane.cell.messaging.settings import MessagingSettings
from cellplane.cell.messaging.subjects import CellSubjects

__all__ = ["CellMessage", "CellSubjects", "DeadReason", "MessagingSettings", "run_together"]
