"""The checks. Each takes the renderings, gives one line that says what it looked at, and raises `Failed`."""

from . import drift, manifests, refusals, reload, rendering, service

__all__ = ["drift", "manifests", "refusals", "reload", "rendering", "service"]
