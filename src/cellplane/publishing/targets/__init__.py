"""Where routers find tables without the control plane: a folder, or a bucket behind a CDN."""

from pathlib import Path

from cellplane.errors import TargetError
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.targets.folder import FolderTarget
from cellplane.publishing.targets.s3 import S3Target, bucket_of
from cellplane.publishing.targets.target import Target

__all__ = ["FolderTarget", "S3Target", "Target", "target_of"]


def target_of(text: str, settings: PublishingSettings) -> Target:
    """The target of a command line: the path of a folder, or ``s3://bucket/prefix?endpoint=…&region=…``.

    Raises:
        TargetError: it is neither, or boto3 is not installed.
    """
    if text.startswith("s3://"):
        return S3Target(bucket_of(text), settings)
    if "://" in text or not text:
        raise TargetError(f"expected a folder or s3://bucket/prefix to publish to, found {text!r}")
    return FolderTarget(Path(text), settings)
