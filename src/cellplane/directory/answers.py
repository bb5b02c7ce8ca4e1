"""Answers to changes that named an idempotency key: who asks again gets what was answered the first time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert

from cellplane.directory import schema
from cellplane.directory.snapshot import one
from cellplane.errors import KeyReusedError


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request that can be asked again.

    Attributes:
        actor: who asks; keys of others are others.
        key: what it calls the request.
        request: a digest of what is asked.
    """

    actor: str
    key: str
    request: str


def find_answer(connection: Connection, key: RequestKey) -> dict[str, Any] | None:
    """What was answered to this request; None where it is new.

    Raises:
        KeyReusedError: the key came before with another request.
    """
    row = one(connection, _TABLE, _where(key))
    if row is None:
        return None
    if row["request"] != key.request:
        raise KeyReusedError(
            f"the idempotency key {key.key!r} came before with another request: a new request needs a new key"
        )
    answer: dict[str, Any] = row["answer"]
    return answer


def keep_answer(
    connection: Connection, key: RequestKey, answer: Mapping[str, Any], now: datetime, kept_seconds: int
) -> None:
    """Remember an answer with what it is about, and forget those that are older than ``kept_seconds``."""
    oldest = now - timedelta(seconds=kept_seconds)
    connection.execute(delete(_TABLE).where(_TABLE.c.at < _text(oldest)))
    values = {"actor": key.actor, "key": key.key, "request": key.request, "answer": dict(answer), "at": _text(now)}
    connection.execute(insert(_TABLE).values(**values))


def _where(key: RequestKey) -> Any:
    return (_TABLE.c.actor == key.actor) & (_TABLE.c.key == key.key)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


_TABLE = schema.answers
