"""What the SDK uses of aiokafka's clients, on a broker in memory: no broker of Kafka installs with pip.

The same tests run against a real broker where ``CELLPLANE_TEST_KAFKA`` names one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

PARTITIONS = 2


def _empty() -> list[list[Any]]:
    return [[] for _ in range(PARTITIONS)]


@dataclass
class FakeBroker:
    """Topics of two partitions each, and what groups have committed. One consumer a group."""

    is_up: bool = True
    topics: dict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(_empty))
    committed: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)

    def check(self) -> None:
        if not self.is_up:
            raise KafkaConnectionError("no broker")

    def producer(self, **_: Any) -> "_Producer":
        return _Producer(self)

    def consumer(self, *, group_id: str, **_: Any) -> "_Consumer":
        return _Consumer(self, group_id)

    def admin(self, **_: Any) -> "_Admin":
        return _Admin(self)


@dataclass
class _Client:
    broker: FakeBroker

    async def start(self) -> None:
        self.broker.check()

    async def stop(self) -> None:
        """There is nothing to stop."""


class _Producer(_Client):
    async def send_and_wait(
        self, topic: str, data: bytes, *, key: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        while not self.broker.is_up:  # noqa: ASYNC110  # as aiokafka does, until its caller's time is over
            await asyncio.sleep(0.01)
        number = sum(key or b"") % PARTITIONS
        log = self.broker.topics[topic][number]
        log.append(
            SimpleNamespace(topic=topic, partition=number, offset=len(log), value=data, key=key, headers=tuple(headers))
        )


class _Admin(_Client):
    async def create_topics(self, topics: Iterable[Any]) -> Any:
        self.broker.check()
        return SimpleNamespace(topic_errors=[(topic.name, 0) for topic in topics])

    async def close(self) -> None:
        """There is nothing to close."""


class _Consumer(_Client):
    def __init__(self, broker: FakeBroker, group: str) -> None:
        super().__init__(broker)
        self._group = group
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def subscribe(self, topics: list[str], listener: Any) -> None:
        for topic in topics:
            for number in range(PARTITIONS):
                partition = TopicPartition(topic, number)
                self._positions[partition] = self.broker.committed.get((self._group, partition), 0)

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._paused.discard(partition)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, list[Any]]:
        for _ in range(timeout_ms // 10):
            found = {}
            for partition, position in self._positions.items():
                records = self.broker.topics[partition.topic][partition.partition][position : position + max_records]
                if self.broker.is_up and records and partition not in self._paused:
                    self._positions[partition] += len(records)
                    found[partition] = records
            if found:
                return found
            await asyncio.sleep(0.01)
        return {}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.broker.check()
        for partition, offset in offsets.items():
            self.broker.committed[self._group, partition] = offset
