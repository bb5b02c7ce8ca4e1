"""Limits, time-outs and intervals of a cell's queues."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MessagingSettings:
    """How long a queue's user waits, how often it tries, and how much there may be."""

    publish_seconds: float = 5.0
    """Longest that publishing or a question to the broker takes, with the wait for a connection, seconds; 5: then the
    caller is told."""

    connection_wait_seconds: float = 5.0
    """How much of that is waited where there is no connection, seconds; 5. With 0 the caller is told at once, for apps
    that keep the work elsewhere until the broker is back."""

    connect_seconds: float = 5.0
    """Longest that one try to connect takes, seconds; 5."""

    reconnect_min_seconds: float = 0.2
    """Pause before the second try to connect, seconds; 0.2. It doubles with each try that follows."""

    reconnect_max_seconds: float = 5.0
    """Longest pause between two tries to connect, seconds; 5. There is no last try."""

    ping_seconds: int = 2
    """Time between two questions whether the broker still answers, seconds; 2. Three without answer end it."""

    watch_seconds: float = 0.1
    """Time between two looks at whether a connection still is one, seconds; 0.1."""

    close_seconds: float = 2.0
    """Longest that closing a connection takes, seconds; 2."""

    fetch_seconds: float = 5.0
    """How long one question for a message waits at the broker, seconds; 5. A stop waits for it to end."""

    lanes: int = 4
    """Messages that one consumer handles at once; 4. Their order among each other is not kept by NATS; by Kafka, whose
    consumers handle the messages of a partition one by one, this has no effect."""

    handler_seconds: float = 30.0
    """Longest that a handler may take for a message, seconds; 30. Then it is cancelled, and the delivery has failed."""

    ack_seconds: float = 10.0
    """How long a message of a worker that died stays with it, seconds; 10. A living one says three times in it that it
    is still at work."""

    max_deliveries: int = 5
    """Deliveries of a message until it is a dead letter; 5. One that a worker gave back as it was stopped, or lost as
    it was killed, counts."""

    retry_min_seconds: float = 1.0
    """Pause before the second delivery of a message, seconds; 1. It doubles with each that follows."""

    retry_max_seconds: float = 60.0
    """Longest pause between two deliveries, seconds; 60."""

    not_now_seconds: float = 2.0
    """Pause before a handler that raised NotNowError is asked again, seconds; 2. Such a wait counts as no delivery."""

    stop_seconds: float = 10.0
    """How long a stop waits for what is in hand, seconds; 10. What is cut off then is delivered again."""

    max_message_bytes: int = 512 * 1024
    """Largest message that is published, bytes; 512 KiB, half of what NATS and Kafka take by default."""

    max_headers: int = 32
    """Most headers of its own that a message may have; 32."""

    max_header_bytes: int = 1024
    """Longest value of one, bytes; 1,024."""

    max_queue_messages: int = 1_000_000
    """Messages that wait in a stream of NATS; 1,000,000. When it is full, publishing is refused: what waits is kept."""

    max_dead_messages: int = 100_000
    """Dead letters of a cell that NATS keeps; 100,000. Then the oldest make room, or the queue would stand still."""

    max_dead_days: int = 30
    """How long it keeps one, days; 30."""

    duplicate_seconds: float = 120.0
    """How long NATS knows a message id, so that a repetition is stored once, seconds; 120."""

    replicas: int = 1
    """Copies of a message that a cluster keeps; 1, of a cell with one server."""

    partitions: int = 8
    """Partitions of a topic of Kafka that is made; 8. So many workers can share it."""
