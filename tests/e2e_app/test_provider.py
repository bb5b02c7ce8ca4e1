"""The simulated provider: the same id, one effect, whoever delivers it."""

import fcntl
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cellplane.cell import CellSettings
from notifications.errors import ProviderError
from notifications.model import Notification
from notifications.provider import FileProvider
from notifications.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def provider(folder: Path, lock_s: float = 2.0, remembered: int = 100) -> FileProvider:
    settings = Settings(
        cell=CellSettings("cell-a", "postgresql://", "nats://"),
        provider_dir=folder,
        owner_url="postgresql://",
        provider_lock_seconds=lock_s,
        provider_remembered_ids=remembered,
    )
    return FileProvider(settings, now=lambda: NOW)


def notification(notification_id: UUID | None = None) -> Notification:
    return Notification(
        "acme", notification_id or uuid4(), "push", "somebody", "line\nbreak", "queued", 1, None, NOW, None
    )


def lines(folder: Path) -> list[bytes]:
    return (folder / "push.jsonl").read_bytes().splitlines()


def test_id_that_another_process_delivered_has_no_second_effect(tmp_path: Path) -> None:
    one, other = provider(tmp_path), provider(tmp_path)
    first, second = notification(), notification()
    assert one.deliver(first)
    assert other.deliver(second)
    assert not one.deliver(second)
    assert not other.deliver(first)
    assert len(lines(tmp_path)) == 2


def test_many_threads_and_files_deliver_each_id_once(tmp_path: Path) -> None:
    providers = [provider(tmp_path) for _ in range(4)]
    notifications = [notification() for _ in range(10)]
    news: list[bool] = []

    def deliver(one: FileProvider) -> None:
        news.extend(one.deliver(each) for each in notifications)

    threads = [threading.Thread(target=deliver, args=[one]) for one in providers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(news), sum(news), len(lines(tmp_path))) == (40, 10, 10)


def test_only_the_last_ids_are_remembered(tmp_path: Path) -> None:
    forgetful = provider(tmp_path, remembered=2)
    oldest, *others = (notification() for _ in range(3))
    for each in (oldest, *others):
        forgetful.deliver(each)
    assert not forgetful.deliver(others[0])
    assert forgetful.deliver(oldest)


def test_file_that_was_removed_begins_anew(tmp_path: Path) -> None:
    one = provider(tmp_path)
    same = notification()
    one.deliver(same)
    (tmp_path / "push.jsonl").unlink()
    assert one.deliver(same)


def test_file_that_another_process_keeps_is_not_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "push.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ProviderError):
            provider(tmp_path, lock_s=0.05).deliver(notification())


def test_foreign_line_is_an_error_not_a_delivery(tmp_path: Path) -> None:
    (tmp_path / "push.jsonl").write_text("no JSON\n")
    with pytest.raises(ProviderError, match=r"push\.jsonl"):
        provider(tmp_path).deliver(notification())
