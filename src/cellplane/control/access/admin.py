"""The admin token of a control plane's own machine: made at the first start, kept over restarts."""

from datetime import datetime, timedelta
from pathlib import Path

import structlog

from cellplane.control.access.roles import Role
from cellplane.control.access.settings import ADMIN_NAME, ADMIN_TOKEN, AccessSettings
from cellplane.control.access.tokens import RandomBytes, Token, TokenOrder, mint
from cellplane.directory.access import AccessBook
from cellplane.durable import write_durably

log = structlog.get_logger()


def ensure_admin_token(
    state_dir: Path, book: AccessBook, *, now: datetime, random_bytes: RandomBytes, settings: AccessSettings
) -> None:
    """See to it that the state folder has an admin's token that counts, and goes on to for a while.

    Whoever can read that file is an admin; nobody but its owner can. One that was revoked, or is about to expire, is
    replaced.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / ADMIN_TOKEN
    try:
        token = Token.parse(path.read_text(errors="replace").strip())
    except FileNotFoundError:
        token = None
    record = None if token is None else book.token(token.id)
    later = now + timedelta(days=settings.admin_renew_days)
    if token is not None and record is not None and token.is_of(record) and record.is_live(later):
        return
    order = TokenOrder(name=ADMIN_NAME, role=Role.ADMIN, days=settings.admin_token_days)
    token, record = mint(order, by="control-plane", now=now, random_bytes=random_bytes, settings=settings)
    book.create_token(record, None, settings.max_tokens + 1)
    write_durably(path, f"{token.text}\n".encode())
    log.info("admin_token_made", file=str(path), id=token.id)
