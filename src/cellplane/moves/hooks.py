"""What others do before and after a phase of a move: an HTTP endpoint of theirs is told, or a Python function called.

A hook before a phase may refuse it. One after a phase is called at least once: where it fails, or whoever runs the
move dies, it is called again by whoever goes on, with the same key. Hooks ``after_fence`` and ``before_flip`` are
called while the tenant's writes wait, and have less time.
"""

import hashlib
import hmac
import importlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2

from cellplane.durable import write_durably
from cellplane.moves.errors import HookError, MoveError
from cellplane.moves.move import Move
from cellplane.moves.settings import HookSettings

PHASES = ("prepare", "copy", "follow", "verify", "shadow", "fence", "flip", "release", "abort", "rollback")
NAMES = frozenset(f"{when}_{phase}" for when in ("before", "after") for phase in PHASES)
HELD = frozenset({"after_fence", "before_flip"})
"""Hooks that are called while writes wait."""

SIGNATURE = "X-Cellplane-Signature"
KEY = "Idempotency-Key"

_RETRIED = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class HookCall:
    """What a hook is told.

    Attributes:
        hook: its name, such as ``before_copy``.
        key: the same for each repetition of this call.
        move: of which move, with what it has reached.
        epoch: of the last table that changed something of the tenant, as far as the move knows one; else 0.
    """

    hook: str
    key: str
    move: Move
    epoch: int

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "hook": self.hook,
            "key": self.key,
            "move": self.move.id,
            "tenant": self.move.tenant_id,
            "source": self.move.source,
            "target": self.move.target,
            "phase": self.move.phase.value,
            "epoch": self.epoch,
        }


class Hook(Protocol):
    """Something to call."""

    def call(self, call: HookCall, settings: HookSettings) -> None:
        """Call it, in no more time than the settings allow.

        Raises:
            HookError: it refuses, or failed.
        """


class HookRecord(Protocol):
    """Which hooks of a move were called to their end."""

    def was_made(self, key: str) -> bool:
        """Whether this one was."""

    def note(self, key: str) -> None:
        """Note it, durably."""


@dataclass(frozen=True, slots=True)
class FileHookRecord:
    """A record in a file.

    Args:
        path: of the file; it need not be there yet.
    """

    path: Path

    def was_made(self, key: str) -> bool:
        """See ``HookRecord``."""
        return key in self._keys()

    def note(self, key: str) -> None:
        """See ``HookRecord``."""
        write_durably(self.path, json.dumps([*self._keys(), key]).encode())

    def _keys(self) -> list[str]:
        try:
            keys: list[str] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise MoveError(
                f"{self.path} is damaged ({error}): delete it, and hooks after a phase are called once more"
            ) from error
        return keys


class NoHookRecord:
    """Knows of none: where there are no hooks."""

    def was_made(self, key: str) -> bool:
        """See ``HookRecord``."""
        del key
        return False

    def note(self, key: str) -> None:
        """See ``HookRecord``."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of a move.

    Args:
        hooks: name → what is called, in order.
        record: of what was called after a phase.
        settings: how long each may take.
    """

    hooks: Mapping[str, tuple[Hook, ...]] = field(default_factory=dict)
    record: HookRecord = field(default_factory=NoHookRecord)
    settings: HookSettings = field(default_factory=HookSettings)

    def before(self, move: Move, phase: str, epoch: int = 0) -> None:
        """Ask before a phase.

        Raises:
            HookError: somebody refuses.
        """
        self._call(move, f"before_{phase}", epoch)

    def after(self, move: Move, phase: str, epoch: int = 0) -> None:
        """Tell after a phase, unless that was done.

        Raises:
            HookError: somebody could not be told.
        """
        self._call(move, f"after_{phase}", epoch, once=True)

    def _call(self, move: Move, name: str, epoch: int, *, once: bool = False) -> None:
        assert name in NAMES
        hooks = self.hooks.get(name, ())
        if not hooks:
            return
        settings = self.settings.held() if name in HELD else self.settings
        # Writes may be held more than once, and each time is another.
        turn = f"{name}.{epoch}" if name in HELD or name.endswith("_fence") else name
        for number, hook in enumerate(hooks, 1):
            key = f"{move.id}.{turn}.{number}"
            if once and self.record.was_made(key):
                continue
            hook.call(HookCall(name, key, move, epoch or move.flipped_epoch), settings)
            if once:
                self.record.note(key)


@dataclass(frozen=True, slots=True)
class HttpHook:
    """POSTs the document, signed where there is a secret: ``t=<Unix seconds>,v1=<hex>`` in ``X-Cellplane-Signature``.

    ``v1`` is the HMAC with SHA-256 (RFC 2104) of the seconds, a dot and the body.

    Args:
        url: to which.
        secret_file: file with the secret; None: it is not signed.
        clock: Unix seconds.
        pause: waits so many seconds.
    """

    url: str = field(repr=False)
    secret_file: Path | None = None
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep

    def call(self, call: HookCall, settings: HookSettings) -> None:
        """See ``Hook``. What is no answer, or a passing one, is asked for again."""
        body = json.dumps(call.document()).encode()
        pause_seconds = settings.pause_seconds
        for left in reversed(range(settings.tries)):
            said, may_pass = self._ask(call, body, settings)
            if said is None:
                return
            if not may_pass or not left:
                raise HookError(f"{call.hook}: {self._shown()} {said}")
            self.pause(pause_seconds)
            pause_seconds *= 2

    def _ask(self, call: HookCall, body: bytes, settings: HookSettings) -> tuple[str | None, bool]:
        """What is wrong with the answer, and whether another may come; None: nothing is."""
        headers = {"Content-Type": "application/json", KEY: call.key}
        if self.secret_file is not None:
            headers[SIGNATURE] = signature_of(body, self._secret(self.secret_file), int(self.clock()))
        until = time.monotonic() + settings.seconds
        try:
            with (
                httpx2.Client(timeout=settings.seconds, follow_redirects=False) as client,
                client.stream("POST", self.url, content=body, headers=headers) as answer,
            ):
                text = bytearray()
                for part in answer.iter_bytes():
                    text += part[: settings.answer_bytes - len(text)]
                    if len(text) >= settings.answer_bytes or time.monotonic() > until:
                        break
        except httpx2.TimeoutException:
            return f"did not answer within {settings.seconds:g} s", True
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return f"cannot be reached ({type(error).__name__}): see that it runs", True
        if answer.is_success:
            return None, False
        said = " ".join(text.decode(errors="replace").split())
        may_pass = answer.status_code >= 500 or answer.status_code in _RETRIED
        return f"answered {answer.status_code}: {said or 'without a text'}", may_pass

    @staticmethod
    def _secret(path: Path) -> bytes:
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            raise HookError(f"the secret of hooks in {path} cannot be read: {error.strerror}") from error
        if not secret:
            raise HookError(f"expected the secret of hooks in {path}, found an empty file")
        return secret

    def _shown(self) -> str:
        """The URL without what may be a secret."""
        parts = urlsplit(self.url)
        port = "" if parts.port is None else f":{parts.port}"
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def signature_of(body: bytes, secret: bytes, at: int) -> str:
    """The signature of a call, to be compared by ``hmac.compare_digest``.

    Args:
        body: as it is sent.
        secret: that both know.
        at: Unix seconds.
    """
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


@dataclass(frozen=True, slots=True)
class PythonHook:
    """Calls a function with the document, in this process; whatever it raises refuses.

    Args:
        target: ``package.module:function``.
    """

    target: str

    def call(self, call: HookCall, settings: HookSettings) -> None:
        """See ``Hook``. A function that takes too long is not waited for; it cannot be ended."""
        function = loaded(self.target)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                function(call.document())
            except Exception as error:  # noqa: BLE001  # whatever it raises is its refusal
                errors.append(error)

        thread = threading.Thread(target=run, name=f"hook {self.target}", daemon=True)
        thread.start()
        thread.join(settings.seconds)
        if thread.is_alive():
            raise HookError(f"{call.hook}: {self.target} did not return within {settings.seconds:g} s")
        if errors:
            said = " ".join(str(errors[0]).split())[: settings.answer_bytes]
            raise HookError(f"{call.hook}: {self.target} raised {type(errors[0]).__name__}: {said}") from errors[0]


def loaded(target: str) -> Callable[..., Any]:
    """The function that ``package.module:function`` names.

    Raises:
        MoveError: there is none.
    """
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MoveError(
            f"expected package.module:function that Python finds (PYTHONPATH), found {target!r}: {error}"
        ) from error
    if not callable(found):
        raise MoveError(f"expected package.module:function, and {target!r} is no function")
    function: Callable[..., Any] = found
    return function
