"""What all pages share: who looks at it, the way to the sign-in, templates, headers, errors."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

import jinja2
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse, RedirectResponse

from api.auth import require, signed_in
from api.pages import shown
from api.pages.calls import CallError, Calls
from api.platform import Platform
from api.protocol import forms
from api.protocol.problems import ProblemError
from webhooks import VERSION
from webhooks.identity.caller import Caller

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_MAX_FORM_BYTES = 1024 * 1024
"""Of a form: a template and a schema, as large as the API takes, written as a form writes them."""
NAVIGATION = (
    ("Sent", "/sent", "delivery:list"),
    ("Received", "/received", "occurrence:list"),
    ("Webhooks", "/webhooks", "webhook:list"),
    ("Events", "/events", "event:list"),
    ("Occurrences", "/occurrences", "occurrence:list"),
    ("Jobs", "/jobs", "job:list"),
)
"""Name, path, and the permission without which it is not shown."""
ADMINISTRATION = (
    ("Access", "/access", None),
    ("Audit", "/audit", "audit:list"),
)

templates = jinja2.Environment(
    loader=jinja2.PackageLoader("api.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters |= shown.FILTERS
templates.globals |= {"version": VERSION}


class Page:
    """A page that somebody looks at."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.caller: Caller = request.state.caller
        self.platform: Platform = request.app.state.platform
        self.api = Calls(request)
        self.is_part = "hx-request" in request.headers
        """Whether a script asks for a part of the page, to put it into the page that is shown."""

    def may(self, permission: str | None) -> bool:
        return permission is None or self.caller.may(permission)

    def require(self, permission: str) -> None:
        """Raise ProblemError 403 if whoever looks does not have the permission: of a page that is a form for it."""
        require(self.caller, permission)

    async def find(self, permission: str, path: str) -> Any:
        """Return what the API shows at the path, or None if it is gone or the person may not see it. Raises
        CallError."""
        if not self.may(permission):
            return None
        try:
            return await self.api.get(path)
        except CallError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    def render(self, template: str, status: int = 200, **fields: Any) -> Response:
        """Return the page that the template makes of the fields."""
        path = self.request.url.path
        html = templates.get_template(template).render(
            may=self.may,
            caller=self.caller,
            path=path,
            query=self.request.query_params,
            navigation=[item for item in NAVIGATION if self.may(item[2])],
            administration=[item for item in ADMINISTRATION if self.may(item[2])],
            said=_SAID.get(self.request.query_params.get("said", "")),
            **fields,
        )
        return HTMLResponse(html, status)

    def render_rows(self, template: str, **fields: Any) -> Response:
        """Return the rows that the template makes of the fields, or 304 if the page shows them already."""
        version = shown.version_of(fields)
        if self.shows(version):
            return Response(status_code=HTTPStatus.NOT_MODIFIED)
        rows = self.render(template, **fields)
        rows.headers["ETag"] = f'"{version}"'
        return rows

    def shows(self, version: str) -> bool:
        """Return whether the page shows this version of the part that its script asks for."""
        return self.is_part and self.request.headers.get("if-none-match") == f'"{version}"'

    def go(self, path: str, *, said: str | None = None) -> Response:
        """Lead the browser to another page, which then says `said`, a key of `_SAID`."""
        if said:
            path += f"{'&' if '?' in path else '?'}{urlencode({'said': said})}"
        if self.is_part:
            return Response(status_code=204, headers={"HX-Redirect": path})
        return RedirectResponse(path, HTTPStatus.SEE_OTHER)

    async def form(self) -> forms.Form:
        """Return the fields of the form that was sent. Raises ProblemError 413 and 408."""
        return await forms.read(self.request, _MAX_FORM_BYTES, 30.0)


async def _page(request: Request) -> Page:
    return Page(request)


CurrentPage = Annotated[Page, Depends(_page)]

_SAID = {
    "resent": "Sent again. The new attempt appears here in a moment.",
    "cancelled": "Given up. It is not sent any more, until somebody resends it.",
    "saved": "Saved.",
    "created": "Created.",
    "deleted": "Deleted.",
    "disabled": "Disabled. Nothing is sent to it.",
    "enabled": "Active again.",
    "published": "Published.",
    "erased": "Erased, with its deliveries.",
    "revoked": "Revoked. No process accepts the key any more in a few seconds.",
    "suspended": "Suspended. It cannot publish, and its deliveries wait.",
    "resumed": "The suspension is lifted. Its deliveries go on.",
    "deleting": "Its keys have ended, and nothing more is sent. The rest is deleted in the background.",
}
"""What a page can say of the action before it. Keys, so that no link can make a page say something else."""


class PageRoute(APIRoute):
    """The class of every page's route. Without a sign-in it leads there; a problem of the API becomes a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def shown_to_somebody(request: Request) -> Response:
            try:
                caller = await signed_in(request)
                if caller is None:
                    return _to_sign_in(request)
                request.state.caller = caller
                response = await handler(request)
            except (CallError, ProblemError) as error:
                response = _problem(request, error)
            response.headers.update({**HEADERS, **strict_transport(request.app.state.platform)})
            return response

        return shown_to_somebody


def strict_transport(platform: Platform) -> Mapping[str, str]:
    """Return the header that keeps browsers to TLS, if the platform is reached by TLS."""
    return {"Strict-Transport-Security": "max-age=31536000"} if platform.settings.is_https else {}


def _to_sign_in(request: Request) -> Response:
    path = request.url.path if request.method == "GET" else "/sent"
    query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
    place = f"/sign-in?{urlencode({'next': path + query})}"
    if "hx-request" in request.headers:  # a script put the answer into the page: lead the whole page
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in", **HEADERS})
    return RedirectResponse(place, HTTPStatus.SEE_OTHER, headers=HEADERS)


def _problem(request: Request, error: CallError | ProblemError) -> Response:
    if getattr(request.state, "caller", None) is None:
        raise error  # another site's page has sent it: the API's own answer will do
    page = Page(request)
    template = "problem_part.html" if page.is_part else "problem.html"
    return page.render(
        template,
        error.status,
        title=HTTPStatus(error.status).phrase,
        detail=error.detail,
        faults={name: text for name, text in dict(error.errors).items() if text != error.detail},
    )
