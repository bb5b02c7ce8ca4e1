"""Pages of the documentation as tests read them: their blocks, diffs of files, and commands with what they print."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from e2e_app.servers import eventually, listens

COMMAND_SECONDS = 60.0
START_SECONDS = 60.0

_FENCED = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENDED = "--- ended with"


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    heading: str
    """Of the section, without its hashes; empty above the first."""

    language: str
    file: str
    """The file that it is, or changes, as its fence names it behind the language; empty where it names none."""

    text: str

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Each command of a console, and what is shown below it."""
        found: list[tuple[str, str]] = []
        if self.language != "console":
            return found
        for part in ("\n" + self.text.replace("\\\n", "")).split("\n$ ")[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown.strip("\n")))
        return found


def blocks(page: Path) -> Iterator[Block]:
    """All blocks, in their order."""
    for section in ("\n" + page.read_text()).split("\n## "):
        heading = section.partition("\n")[0]
        for language, file, text in _FENCED.findall(section):
            yield Block(heading, language, file, text)


def changed(text: str, diff: str) -> str:
    """A file after a diff, whose hunks are parted by lines that begin with @@; each has to fit in one place."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines()
        assert all(line[:1] in {"", " ", "-", "+"} for line in lines), hunk
        before, after = (
            "".join(f"{line[1:]}\n" for line in lines if line[:1] in {"", " ", kept}) for kept in ("-", "+")
        )
        assert text.count(before) == 1, f"expected in one place of the file, found in {text.count(before)}:\n{before}"
        text = text.replace(before, after)
    return text


def shows(shown: str, found: str) -> bool:
    """Whether a page shows what was printed; … stands for some of a line, alone on a line for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in shown.splitlines()
    )
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in found.strip("\n").splitlines())) is not None


class Shell:
    """One shell for all commands of a page. What runs in the background writes to ``log``, and is waited for until the
    port of its ``--port`` is listened to.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.log = folder / "background.log"
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()

    def run(self, command: str) -> str:
        """What a command prints; it may fail where it is followed by another of its line."""
        begun = command
        if command.endswith(" &"):
            begun = f"{command[:-1]}>>{self.log} 2>&1 &"
        assert self._process.stdin is not None
        self._process.stdin.write(f"{begun}\nprintf '\\n{_ENDED} %d\\n' $?\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + COMMAND_SECONDS
        printed: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"not within {COMMAND_SECONDS:g} s: {command}\n{''.join(printed)}") from None
            if line.startswith(_ENDED):
                break
            printed.append(line)
        output = "".join(printed)
        assert line.split()[-1] == "0" or ";" in command, f"{command}\n{output}"
        if begun != command and (port := re.search(r"--port (\d+)", command)):
            number = int(port[1])
            try:
                eventually(f"{command} listens", lambda: listens(number), START_SECONDS)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.log.read_text()[-3_000:]}") from None
        return output

    def end(self) -> None:
        """End all that runs in the background, and the shell."""
        assert self._process.stdin is not None
        self._process.stdin.write("kill $(jobs -p); wait\n")
        self._process.stdin.close()
        self._process.wait(COMMAND_SECONDS)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
