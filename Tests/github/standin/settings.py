"""What can be set while the server runs."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass
class Settings:
    """The defaults are GitHub's documented limits, but for the secondary ones, which are off."""

    secondary_limits: bool = False
    points_per_minute: int = 900
    content_per_minute: int = 80
    content_per_hour: int = 500
    concurrent_requests: int = 100
    # Bytes of a blob, decoded, that POST git/blobs and the contents API take.
    blob_limit: int = 40 << 20
    # Bytes from which an asset is too large.
    asset_limit: int = 2 << 30
    assets_per_release: int = 1000
    # Whether a download is sent to the storage host, or answered where it is asked for.
    asset_redirect: bool = True
    # Whether an upload that breaks off leaves an asset behind, in state "starter".
    aborted_upload_leaves_starter: bool = True
    signed_url_seconds: float = 300
    # Added to every request before it is handled.
    latency_ms: float = 0
    per_connection_bytes_per_second: float | None = None
    # Requests for a repository that are answered 404 after it was created.
    not_found_after_create: int = 0

    def update(self, values: dict[str, Any]) -> None:
        """Raises ValueError for a setting that does not exist."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        for name, value in values.items():
            setattr(self, name, value)
