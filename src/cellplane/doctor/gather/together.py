"""Asks many things at once, and waits for none of them longer than a bound."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cellplane.doctor.facts import Missing
from cellplane.errors import CellplaneError

Question = Callable[[], Any]


def together(questions: Mapping[str, Question], workers: int, deadline_seconds: float) -> dict[str, Any]:
    """The answer to each question, or Missing where it failed or took too long.

    Threads that hang in a call that cannot be ended, such as a look-up of a name, are left behind: they are daemons.

    Args:
        questions: by name.
        workers: how many are asked at once.
        deadline_seconds: for all of them.
    """
    waiting: queue.SimpleQueue[tuple[str, Question]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    for name, question in questions.items():
        waiting.put((name, question))
    for number in range(min(workers, len(questions))):
        threading.Thread(target=_work, args=(waiting, answers), name=f"doctor-{number}", daemon=True).start()
    found: dict[str, Any] = {}
    end = time.monotonic() + deadline_seconds
    while len(found) < len(questions):
        try:
            name, answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        found[name] = answer
    late = Missing(f"no answer within {deadline_seconds:g} s")
    return {name: found.get(name, late) for name in questions}


def _work(waiting: "queue.SimpleQueue[tuple[str, Question]]", answers: "queue.SimpleQueue[tuple[str, Any]]") -> None:
    while True:
        try:
            name, question = waiting.get_nowait()
        except queue.Empty:
            return
        answer: Any
        try:
            answer = question()
        except CellplaneError as error:
            answer = Missing(str(error))
        except Exception as error:  # noqa: BLE001  # one question must not keep the others from being answered
            answer = Missing(f"{type(error).__name__}: {error}")
        answers.put((name, answer))
