"""Where something stands in a JSON document. Pure."""

from collections.abc import Sequence


def json_pointer(path: Sequence[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
