"""Being asked to stop, by Ctrl-C or by whoever runs the command."""

import queue
import signal
import threading
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def asked_to_stop() -> threading.Event:
    """An event that is set once one of the signals that end a program has come; more of them change nothing.

    Only for the main thread. A handler interrupts the main thread anywhere, so also inside of another handler, or of
    the event's own wait; an event that is set there can wait for its own lock for ever. A ``SimpleQueue`` can take
    something at any point, and a thread hands it on.
    """
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    stopping = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        asked.put(number)

    def hand_on() -> None:
        asked.get()
        stopping.set()

    threading.Thread(target=hand_on, name="asked-to-stop", daemon=True).start()
    for number in _STOPS:
        signal.signal(number, note)
    return stopping
