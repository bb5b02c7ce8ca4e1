"""A bucket of S3, or of any store with its interface and conditional writes; a CDN may stand before it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cellplane.errors import TargetError
from cellplane.faults import fault_point
from cellplane.publishing.manifest import MANIFEST, Manifest
from cellplane.publishing.settings import MAX_MANIFEST_BYTES, PublishingSettings
from cellplane.publishing.targets.target import contents, failed, may_replace, superfluous
from cellplane.routing import RoutingTable

_IMMUTABLE = "public, max-age=31536000, immutable"
_STALE_SECONDS = 7 * 86_400
_RACED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_PRUNE_EVERY = 32


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where in which store."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None


def bucket_of(url: str) -> Bucket:
    """The bucket of ``s3://bucket/prefix?endpoint=…&region=…``.

    Raises:
        TargetError: it is no such URL.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - {"endpoint", "region"})
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.fragment or unknown:
        # Not shown: somebody may have written credentials into it.
        raise TargetError("expected s3://bucket/prefix?endpoint=…&region=…; credentials are boto3's own business")
    prefix = parts.path.strip("/")
    return Bucket(parts.netloc, f"{prefix}/" if prefix else "", options.get("endpoint"), options.get("region"))


class S3Target:
    """Objects that are named by their content, and a manifest that is only written over the one that was decided on.

    Credentials, and a region that is not named, come from where boto3 looks for them: environment, profile, instance.

    Raises:
        TargetError: boto3 is not installed.
    """

    def __init__(self, bucket: Bucket, settings: PublishingSettings) -> None:
        self.name = f"s3://{bucket.name}/{bucket.prefix}"
        self.interval_seconds = settings.s3_interval_seconds
        self._bucket = bucket
        self._settings = settings
        try:
            import boto3  # noqa: PLC0415  # an extra of its own, and slow to import
            from botocore.config import Config  # noqa: PLC0415
            from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise TargetError(f"publishing to {self.name} needs boto3: pip install 'cellplane[s3]'") from error
        self._refused: type[Exception] = ClientError
        self._errors: tuple[type[Exception], ...] = (ClientError, BotoCoreError, OSError)
        config = Config(
            connect_timeout=settings.s3_connect_seconds,
            read_timeout=settings.s3_read_seconds,
            retries={"total_max_attempts": 2, "mode": "standard"},
            # Stores beside Amazon's do not all know the newer checksums; tables have their own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._client: Any = boto3.client("s3", endpoint_url=bucket.endpoint, region_name=bucket.region, config=config)
        self._put_before: frozenset[str] = frozenset()
        self._published = 0

    def publish(self, manifest: Manifest, table: RoutingTable) -> None:
        """See Target."""
        try:
            for _ in range(self._settings.s3_races):
                there, etag = self._manifest()
                if not may_replace(there, manifest, self.name) or self._replace(manifest, table, etag):
                    break
            else:
                raise TargetError(f"{self.name}: other publishers wrote its manifest all the time; tried again later")
            if self._published % _PRUNE_EVERY == 0:
                self._prune(manifest)
            self._published += 1
        except self._errors as error:
            raise failed(self.name, error) from error

    def _manifest(self) -> tuple[bytes | None, str | None]:
        """The manifest that is there, and its entity tag."""
        try:
            found = self._client.get_object(Bucket=self._bucket.name, Key=self._key(MANIFEST))
        except self._refused as error:
            if _code(error) in _ABSENT:
                return None, None
            raise
        with found["Body"] as body:
            return body.read(MAX_MANIFEST_BYTES + 1), found["ETag"]

    def _replace(self, manifest: Manifest, table: RoutingTable, etag: str | None) -> bool:
        """Put the objects, then the manifest; False where another publisher wrote it since it was read."""
        names = []
        for part, data in zip(manifest.statement.parts, contents(table), strict=True):
            names.append(part.file_name)
            if not self._is_there(part.file_name, part.size_bytes):
                self._put(part.file_name, bytes(data), "application/octet-stream", _IMMUTABLE)
                fault_point("publish.s3.object")
        self._put_before = frozenset(names)
        fault_point("publish.s3.objects")
        cached = f"public, max-age={self._settings.manifest_max_age_seconds}, stale-if-error={_STALE_SECONDS}"
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            self._put(MANIFEST, manifest.encode(), "text/plain; charset=utf-8", cached, **condition)
        except self._refused as error:
            if _code(error) in _RACED or (etag is not None and _code(error) in _ABSENT):
                return False
            raise
        fault_point("publish.s3.manifest")
        return True

    def _is_there(self, name: str, size_bytes: int) -> bool:
        if name in self._put_before:
            return True
        try:
            found = self._client.head_object(Bucket=self._bucket.name, Key=self._key(name))
        except self._refused as error:
            if _code(error) in _ABSENT:
                return False
            raise
        return bool(found["ContentLength"] == size_bytes)

    def _put(self, name: str, data: bytes, media_type: str, cached: str, **condition: str) -> None:
        self._client.put_object(
            Bucket=self._bucket.name,
            Key=self._key(name),
            Body=data,
            ContentType=media_type,
            CacheControl=cached,
            **condition,
        )

    def _prune(self, manifest: Manifest) -> None:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=self._bucket.prefix
        )
        start = len(self._bucket.prefix)
        names = [item["Key"][start:] for page in pages for item in page.get("Contents", ())]
        for name in superfluous(names, manifest, self._settings):
            self._client.delete_object(Bucket=self._bucket.name, Key=self._key(name))

    def _key(self, name: str) -> str:
        return self._bucket.prefix + name


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
