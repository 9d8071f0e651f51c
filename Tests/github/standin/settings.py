"""Settings that can be changed while the server runs."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass
class Settings:
    """The defaults are GitHub's documented limits; the secondary limits are off."""

    secondary_limits: bool = False
    points_per_minute: int = 900
    content_per_minute: int = 80
    content_per_hour: int = 500
    concurrent_requests: int = 100
    # Maximum decoded size of a blob in POST git/blobs and the contents API.
    blob_limit: int = 40 << 20
    # Size from which an asset is refused.
    asset_limit: int = 2 << 30
    assets_per_release: int = 1000
    # Whether a download is redirected to the storage host, or answered directly.
    asset_redirect: bool = True
    # Whether an interrupted upload leaves an asset behind, in state "starter".
    aborted_upload_leaves_starter: bool = True
    signed_url_seconds: float = 300
    # Delay before every request is handled.
    latency_ms: float = 0
    per_connection_bytes_per_second: float | None = None
    # How many requests for a new repository get a 404 first.
    not_found_after_create: int = 0

    def update(self, values: dict[str, Any]) -> None:
        """Raises ValueError for an unknown setting."""
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        for name, value in values.items():
            setattr(self, name, value)
