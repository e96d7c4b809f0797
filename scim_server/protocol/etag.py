"""Versions as weak entity tags (RFC 7644 §3.14, RFC 9110 §8.8.3)."""


def etag(version: int) -> str:
    """The weak entity tag of a version."""
    return f'W/"{version}"'


def versions(header: str | None) -> frozenset[int] | None:
    """The versions that If-Match or If-None-Match lists; None for "*" or no header. Tags that are not ours match
    nothing."""
    if header is None or header.strip() == "*":
        return None
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in header.split(","))
    return frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdigit() and len(tag) < 10)
