"""The pages' style, scripts and font. They hold nothing of anybody, so they need no sign-in."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from api.protocol.problems import not_found

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    "monitor.css": "text/css",
    "monitor.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "inter.woff2": "font/woff2",
    "icon.svg": "image/svg+xml",
}


@router.get("/static/{name}")
async def get_asset(name: str) -> Response:
    """Return a file. A browser keeps it for an hour; pages ask for `?v=` and the version."""
    if name not in _TYPES:
        raise not_found("file")
    return FileResponse(_FOLDER / name, media_type=_TYPES[name], headers={"Cache-Control": "max-age=3600"})
