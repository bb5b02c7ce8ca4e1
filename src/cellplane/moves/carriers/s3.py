"""A prefix for each tenant in a bucket at each cell, of S3 or any store with its interface: objects that a move copies.

Objects go through this process, so the two buckets may be of different stores and credentials. An object is the same
where size and entity tag are. A store that encrypts, or that had it in other parts, gives a copy another tag: then the
copy says in its metadata of which tag it is one. What is fetched is fetched by its tag, so no copy is half of one
object and half of another.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cellplane.moves.carriers.prefix import Blob, Found, Prefix
from cellplane.moves.errors import MoveError, NotMovableError, StoreError
from cellplane.moves.settings import CarrierSettings

MARKS = ".cellplane-moves/"
"""Prefix, below that of a cell, of the marks."""

COPY_OF = "cellplane-copy-of"
"""Metadata of a copy: the entity tag of what it was copied from."""

_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "StorageClass")
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_CHANGED = frozenset({"PreconditionFailed", "412"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects of one cell are; ``prefix`` is empty or ends with a slash."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None


def place_of(url: str) -> Place:
    """The place of ``s3://bucket/prefix?endpoint=…&region=…&profile=…``.

    Raises:
        MoveError: it is no such URL.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - {"endpoint", "region", "profile"})
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.fragment or unknown:
        # Not shown: somebody may have written credentials into it.
        raise MoveError(
            "expected s3://bucket/prefix?endpoint=…&region=…&profile=…; credentials are boto3's own business: name "
            "the profile that has them"
        )
    prefix = parts.path.strip("/")
    return Place(
        parts.netloc,
        f"{prefix}/" if prefix else "",
        options.get("endpoint"),
        options.get("region"),
        options.get("profile"),
    )


class BucketPrefix(Prefix):
    """One tenant's objects, below ``<prefix><tenant>/``.

    Credentials, and a region that is not named, come from where boto3 looks for them: profile, environment, instance.

    Args:
        place: of the cell's objects.
        tenant_id: whose.
        settings: limits and times.

    Raises:
        NotMovableError: the tenant's id cannot be a prefix of its own.
        MoveError: boto3 is not installed.
    """

    def __init__(self, place: Place, tenant_id: str, settings: CarrierSettings) -> None:
        if not tenant_id or "/" in tenant_id or f"{tenant_id}/" == MARKS:
            raise NotMovableError(
                (f"the tenant {tenant_id!r} cannot have a prefix of its own: its id is empty, or has a slash",)
            )
        try:
            import boto3  # noqa: PLC0415  # an extra of its own, and slow to import
            from botocore.config import Config  # noqa: PLC0415
            from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise MoveError("objects in S3 are moved with boto3: pip install 'cellplane[s3]'") from error
        self._bucket = place.bucket
        self._prefix = f"{place.prefix}{tenant_id}/"
        self._mark = f"{place.prefix}{MARKS}{tenant_id}"
        self._settings = settings
        self._refused: type[Exception] = ClientError
        self._errors: tuple[type[Exception], ...] = (ClientError, BotoCoreError, OSError)
        config = Config(
            connect_timeout=settings.s3_connect_seconds,
            read_timeout=settings.s3_read_seconds,
            retries={"total_max_attempts": settings.s3_tries, "mode": "standard"},
            max_pool_connections=2 * settings.threads,
            # Stores beside Amazon's do not all know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            # One for all is made once: it reads what S3 is from many files.
            session: Any = boto3 if place.profile is None else boto3.Session(profile_name=place.profile)
            self._client: Any = session.client(
                "s3", endpoint_url=place.endpoint, region_name=place.region, config=config
            )
        except self._errors as error:
            raise StoreError(f"{self.where}: {error}") from error

    @property
    def where(self) -> str:
        """See ``Prefix``."""
        return f"s3://{self._bucket}/{self._prefix}"

    def list(self) -> Iterator[Blob]:
        """See ``Prefix``."""
        try:
            paginator = self._client.get_paginator("list_objects_v2")
            size = {"PageSize": self._settings.page}
            for page in paginator.paginate(Bucket=self._bucket, Prefix=self._prefix, PaginationConfig=size):
                for item in page.get("Contents", ()):
                    yield Blob(item["Key"].removeprefix(self._prefix), item["Size"], item["ETag"])
        except self._errors as error:
            raise self._failed(error) from error

    def is_copy(self, ours: Blob | None, theirs: Blob) -> bool:
        """See ``Prefix``."""
        if ours is None or ours.bytes != theirs.bytes:
            return False
        return ours.tag == theirs.tag or self._said(ours.key) == theirs.tag

    def is_same(self, other: "BucketPrefix", theirs: Blob) -> bool:
        """See ``Prefix``. The tag of each part, or what the copy says, was checked by the store as it came."""
        del other
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + theirs.key)
        except self._errors as error:
            if _code(error) in _ABSENT:
                return False
            raise self._failed(error) from error
        return bool(
            found["ContentLength"] == theirs.bytes
            and (found["ETag"] == theirs.tag or found.get("Metadata", {}).get(COPY_OF) == theirs.tag)
        )

    def _said(self, key: str) -> str | None:
        """Of which tag an object says that it is a copy."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except self._errors as error:
            if _code(error) in _ABSENT:
                return None
            raise self._failed(error) from error
        said = found.get("Metadata", {}).get(COPY_OF)
        return None if said is None else str(said)

    def fetch(self, other: "BucketPrefix", theirs: Blob, go_on: Callable[[], None]) -> Found:
        """See ``Prefix``."""
        part_bytes = self._settings.part_bytes
        try:
            head = other.head(theirs)
            if head is None:
                return Found.CHANGED
            kept = {name: head[name] for name in _KEPT if name in head}
            kept["Metadata"] = {**head.get("Metadata", {}), COPY_OF: theirs.tag}
            named = {"Bucket": self._bucket, "Key": self._prefix + theirs.key}
            if theirs.bytes <= part_bytes:
                go_on()
                data = other.part(theirs, None)
                if data is None:
                    return Found.CHANGED
                self._client.put_object(**named, **kept, Body=data)
                return Found.COPIED
            return self._fetch_parts(other, theirs, named, kept, go_on)
        except self._errors as error:
            raise self._failed(error) from error

    def _fetch_parts(
        self,
        other: "BucketPrefix",
        theirs: Blob,
        named: dict[str, str],
        kept: dict[str, Any],
        go_on: Callable[[], None],
    ) -> Found:
        part_bytes = max(self._settings.part_bytes, -(-theirs.bytes // self._settings.parts_max))
        upload = {**named, "UploadId": self._client.create_multipart_upload(**named, **kept)["UploadId"]}
        is_complete = False
        try:
            parts = []
            for number, start in enumerate(range(0, theirs.bytes, part_bytes), 1):
                go_on()
                data = other.part(theirs, (start, min(start + part_bytes, theirs.bytes) - 1))
                if data is None:
                    return Found.CHANGED
                tag = self._client.upload_part(**upload, PartNumber=number, Body=data)["ETag"]
                parts.append({"PartNumber": number, "ETag": tag})
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            is_complete = True
        finally:
            if not is_complete:
                # Else its parts are kept, unseen, and paid for.
                self._client.abort_multipart_upload(**upload)
        return Found.COPIED

    def head(self, blob: Blob) -> dict[str, Any] | None:
        """What is known of an object; None where it is another one by now."""
        return self._unless_changed(self._client.head_object, blob)

    def part(self, blob: Blob, span: tuple[int, int] | None) -> bytes | None:
        """The bytes of an object, or from the first to the last of a span; None where it is another one by now."""
        named = {} if span is None else {"Range": f"bytes={span[0]}-{span[1]}"}
        found = self._unless_changed(self._client.get_object, blob, **named)
        if found is None:
            return None
        with found["Body"] as body:
            data: bytes = body.read()
        return data

    def _unless_changed(self, call: Callable[..., dict[str, Any]], blob: Blob, **named: str) -> dict[str, Any] | None:
        try:
            return call(Bucket=self._bucket, Key=self._prefix + blob.key, IfMatch=blob.tag, **named)
        except self._refused as error:
            if _code(error) in _ABSENT | _CHANGED:
                return None
            raise

    def delete(self, blobs: Sequence[Blob]) -> None:
        """See ``Prefix``."""
        if not blobs:
            return
        keys = [{"Key": self._prefix + blob.key} for blob in blobs]
        try:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})
        except self._errors as error:
            raise self._failed(error) from error
        if wrong := answer.get("Errors"):
            first = wrong[0]
            raise StoreError(
                f"{self.where}: {len(wrong)} objects cannot be deleted, such as {first.get('Key')}: {first.get('Code')}"
            )

    def settle(self) -> None:
        """See ``Prefix``. What the store has answered for is durable."""

    def owner(self) -> str | None:
        """See ``Prefix``."""
        try:
            with self._client.get_object(Bucket=self._bucket, Key=self._mark)["Body"] as body:
                return str(body.read().decode())
        except self._errors as error:
            if _code(error) in _ABSENT:
                return None
            raise self._failed(error) from error

    def claim(self, move_id: str) -> None:
        """See ``Prefix``."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._mark, Body=move_id.encode())
        except self._errors as error:
            raise self._failed(error) from error

    def unclaim(self) -> None:
        """See ``Prefix``."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._mark)
        except self._errors as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> StoreError:
        reason = " ".join(str(error).split())[:300]
        return StoreError(f"{self.where}: {reason}: see that the bucket is there, and who may do what in it")


def _code(error: BaseException) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
