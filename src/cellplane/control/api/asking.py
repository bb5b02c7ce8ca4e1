"""What routes share: who asks, why, for which version, and how a change of the directory is made.

All dependencies are asynchronous: FastAPI calls each that is not in a thread, which costs more than what they do.
"""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor

from cellplane.control import schemas
from cellplane.control.access.gate import entry_of
from cellplane.control.access.needs import CurrentCaller, caller_of
from cellplane.control.api.threads import to_write
from cellplane.control.service import Service
from cellplane.control.settings import (
    MAX_ACTOR_CHARS,
    MAX_CHANGE_REASON_CHARS,
    MAX_IDEMPOTENCY_KEY_CHARS,
)
from cellplane.directory import Author
from cellplane.directory.answers import RequestKey
from cellplane.directory.preconditions import ANY, Precondition, etag
from cellplane.directory.transaction import Transaction
from cellplane.model.configuration import check_config_id
from cellplane.model.key import check_key, check_name

Answer = TypeVar("Answer", bound=BaseModel)

PROBLEM_CONTENT: dict[str, Any] = {"application/problem+json": {}}


class _Rest(Convertor[str]):
    """All of the rest of a path, so that a bad tenant id is refused with its reason. ``:path`` drops a last newline."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """The text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """The text as it is."""
        return value


register_url_convertor("rest", _Rest())


def problems(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that are problem documents: ``s409="why"``."""
    return {
        int(status.removeprefix("s")): {
            "model": schemas.Problem,
            "description": description,
            "content": PROBLEM_CONTENT,
        }
        for status, description in descriptions.items()
    }


EVERYWHERE = problems(
    s400="Its body cannot be parsed at all",
    s401="It does not say who asks, or not so that it can be believed",
    s403="Who asks may not do this",
    s413="Its body is larger than one may be",
    s421="Its `Host` is not one of this control plane's names",
    s422="The request is not valid",
    s429="Who asks does so too often",
    s503="The directory cannot be asked now",
)
"""What any route may answer."""

CONFLICT = problems(s409="The change contradicts what the directory holds")
MISSING = problems(s404="The directory does not have it")
CHANGING = problems(
    s409="The change contradicts what the directory holds, or the idempotency key came before with another request",
    s412="The resource is not of the version that `If-Match` or `If-None-Match` asks for",
    s503="The directory cannot be changed now",
    s507="The directory's disk is full",
)


async def service_of(request: Request) -> Service:
    """The service of the running app."""
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(service_of)]

Limit = Annotated[int | None, Query(ge=1, description="Most items on a page; the server has a limit of its own")]
After = Annotated[str, Query(description="`next` of the page before")]


async def author_of(
    caller: CurrentCaller,
    x_cellplane_actor: Annotated[
        str, Header(max_length=MAX_ACTOR_CHARS, description="On whose behalf, for the change log; a note")
    ] = "",
    x_cellplane_reason: Annotated[
        str, Header(max_length=MAX_CHANGE_REASON_CHARS, description="Why, for the change log")
    ] = "",
) -> Author:
    """Who asks, as the control plane knows them; and why, and for whom, as they say."""
    return Author(caller.name, x_cellplane_reason, x_cellplane_actor)


async def key_of(
    request: Request,
    author: Annotated[Author, Depends(author_of)],
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=MAX_IDEMPOTENCY_KEY_CHARS,
            description="Of a request that may come twice: the second gets the answer of the first",
        ),
    ] = None,
) -> RequestKey | None:
    """The request's idempotency key, with a digest of what it asks."""
    if idempotency_key is None:
        return None
    asked = hashlib.sha256()
    headers = (request.headers.get("if-match", ""), request.headers.get("if-none-match", ""))
    for part in (request.method, request.url.path, request.url.query, *headers):
        asked.update(part.encode() + b"\0")
    asked.update(await request.body())
    return RequestKey(author.name, idempotency_key, asked.hexdigest())


async def precondition_of(
    if_match: Annotated[str | None, Header(description="The `ETag` of the version that this change is for")] = None,
    if_none_match: Annotated[str | None, Header(description="`*`: only where there is none yet")] = None,
) -> Precondition:
    """What the request asks of the resource that it changes."""
    return Precondition.of(if_match, if_none_match)


class Changing:
    """A request that changes the directory: ``change`` does it, once, as its headers ask."""

    def __init__(
        self,
        service: Service,
        *,
        request: Request,
        response: Response,
        author: Author,
        key: RequestKey | None,
        precondition: Precondition,
        allow: bool,
    ) -> None:
        self.service = service
        self.author = author
        self._request = request
        self._response = response
        self._key = key
        self._precondition = precondition
        self._allow = allow

    def change(
        self,
        of: type[Answer],
        do: Callable[[Transaction], Answer],
        *,
        resource: tuple[str, str] | None = None,
        is_dry: bool = False,
        is_long: bool = False,
        is_quiet: bool = False,
    ) -> Answer:
        """Change the directory in one transaction, with the answer that is kept for the idempotency key.

        Args:
            of: what is answered.
            do: makes the change, calls ``Transaction.finish``, and returns the answer.
            resource: kind and name of the one that preconditions are about; its new version is the answer's ``ETag``.
            is_dry: only find out what would be changed.
            is_long: whether it is about many resources.
            is_quiet: whether more follows at once, so that routers need not learn of this yet.
        """
        service = self.service
        if resource is not None and self._precondition != ANY:
            _check(*resource)

        def make(transaction: Transaction) -> tuple[Answer, int | None]:
            return self._make(transaction, of, do, resource, is_dry=is_dry)

        unhealthy = service.routers.unhealthy_cells()
        if is_dry or is_long:
            with service.directory.changing(
                self.author, unhealthy=unhealthy, dry_run=is_dry, is_long=is_long
            ) as transaction:
                answer, version = make(transaction)
        else:
            answer, version = service.directory.change(self.author, make, unhealthy=unhealthy)
        if version is not None:
            self._response.headers["ETag"] = etag(version)
        service.changed(is_quiet=is_quiet)
        return answer

    def _make(
        self,
        transaction: Transaction,
        of: type[Answer],
        do: Callable[[Transaction], Answer],
        resource: tuple[str, str] | None,
        *,
        is_dry: bool,
    ) -> tuple[Answer, int | None]:
        known = None if self._key is None else transaction.find_answer(self._key)
        if known is not None:
            self._response.headers["Idempotent-Replayed"] = "true"
            return of.model_validate(known["body"]), known["version"]
        if resource is not None:
            transaction.require(*resource, self._precondition)
        if self._allow:
            transaction.allow()
        answer = do(transaction)
        if not is_dry:
            caller = caller_of(self._request)
            transaction.audit(entry_of(self._request, caller, HTTPStatus.OK, self.author.reason))
        version = None if resource is None else transaction.version(*resource)
        if self._key is not None and not is_dry:
            kept = {"body": answer.model_dump(mode="json"), "version": version}
            transaction.keep_answer(self._key, kept, self.service.directory.settings.answers_kept_seconds)
        return answer, version

    async def put(self, kind: str, name: str, do: Callable[[Transaction], object]) -> schemas.Changed:
        """Put or remove one resource; the answer is the epoch."""

        def done(transaction: Transaction) -> schemas.Changed:
            do(transaction)
            transaction.finish()
            return schemas.Changed(epoch=transaction.epoch)

        return await to_write(self.service, lambda: self.change(schemas.Changed, done, resource=(kind, name)))


def _check(kind: str, name: str) -> None:
    """Raise ValidationError unless a resource may be named so: no text is looked up that a database cannot hold."""
    if kind == "tenant":
        check_key("tenant.id", name)
    elif kind == "config":
        check_config_id(name)
    else:
        check_name("cell.id" if kind == "cell" else f"{kind}.name", name)


async def changing_of(
    service: CurrentService,
    *,
    request: Request,
    response: Response,
    author: Annotated[Author, Depends(author_of)],
    key: Annotated[RequestKey | None, Depends(key_of)],
    precondition: Annotated[Precondition, Depends(precondition_of)],
    allow: Annotated[
        bool, Query(description="Let the table with this change be published whatever it does to tenants")
    ] = False,
) -> Changing:
    """What changes the directory as this request asks."""
    return Changing(
        service, request=request, response=response, author=author, key=key, precondition=precondition, allow=allow
    )


CurrentChange = Annotated[Changing, Depends(changing_of)]


def tag(response: Response, version: int | None) -> None:
    """Say of which version an answer is."""
    if version is not None:
        response.headers["ETag"] = etag(version)
