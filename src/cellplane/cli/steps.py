"""Shows a command's steps on standard error, so that nobody waits in the dark and scripts read the answer alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console

SHOWN_SECONDS = 1.0
"""Shortest step that is told of where nobody watches, seconds."""


class Steps:
    """The steps of one command.

    Args:
        subject: what they are done to, such as a cell's id.
        clock: monotonic seconds.
    """

    def __init__(self, subject: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._subject = subject
        self._clock = clock
        self._console = Console(stderr=True)

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """What is done inside: a line that moves on a terminal, elsewhere one at its end if it took long."""
        began = self._clock()
        if self._console.is_terminal:
            with self._console.status(f"{self._subject}: {doing} …"):
                yield
        else:
            yield
        seconds = self._clock() - began
        if self._console.is_terminal or seconds >= SHOWN_SECONDS:
            click.echo(f"{self._subject}: {doing}, {seconds:.1f} s", err=True)
