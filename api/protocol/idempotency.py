"""`Idempotency-Key`: a creating call that is repeated creates nothing twice, and gets the first answer again.

The answer is stored in the transaction of the creation: either both are stored, or neither. It is sealed with the
master key, because it may hold a secret that is shown only once."""

import hashlib
import json
import re
from uuid import NAMESPACE_URL, uuid5

from fastapi import Request, Response

from api.platform import Platform
from api.protocol.problems import ProblemError
from webhooks.credentials.vault import CannotOpenError
from webhooks.identity.caller import Caller
from webhooks.store import idempotency
from webhooks.store.models import IdempotentAnswer

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_KEPT_HEADERS = ("content-type", "location", "etag")


class Repeatable:
    """A creating call with an `Idempotency-Key`."""

    def __init__(self, request: Request, key: str, body: bytes) -> None:
        """Raises ProblemError 422 if the key is not one."""
        if not _KEY.fullmatch(key):
            raise ProblemError(422, f"{HEADER} must be 1 to 255 printable ASCII characters")
        self._platform: Platform = request.app.state.platform
        self._request = request
        self._tenant = request.state.caller.tenant
        caller: Caller = request.state.caller
        # Several tokens can be of one API key, and a key's role can change. An answer may hold a secret: a caller
        # that could not make the call now must not get it.
        actor = f"{caller.actor}/{caller.client_identifier or ''}/{','.join(sorted(caller.permissions))}"
        self._id = idempotency.row_id(self._tenant, actor, key)
        call = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
        self._digest = hashlib.sha256(call + body).hexdigest()

    def id(self, number: int) -> str:
        """Return an id that is the same for this call, this key and this number: for what is created outside of the
        database, where the answer may not be stored any more if the process is killed."""
        return str(uuid5(NAMESPACE_URL, f"{self._id}/{self._digest}/{number}"))

    async def earlier_answer(self) -> Response | None:
        """Return the answer to the first call with this key. Raises ProblemError 409, and 422 if that was another
        call."""
        async with self._platform.database.read() as session:
            stored = await idempotency.find(session, self._id)
        if stored is None:
            return None
        if stored.digest != self._digest:
            raise ProblemError(422, f"this {HEADER} was used with another body; a key is for one call")
        try:
            answer = json.loads(self._platform.vault.open(stored.sealed, self._context))
        except CannotOpenError:
            raise ProblemError(409, "this call has succeeded before, and its answer can be read no longer") from None
        headers = {**answer["headers"], "Idempotent-Replayed": "true"}
        return Response(answer["body"], answer["status"], headers=headers)

    async def store(self, response: Response) -> None:
        """Store the answer in the call's own transaction, which is still open. Raises IntegrityError if another call
        with this key was faster: then this one creates nothing."""
        answer = {
            "status": response.status_code,
            "headers": {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
            "body": bytes(response.body).decode(),
        }
        sealed = self._platform.vault.seal(json.dumps(answer).encode(), self._context)
        row = IdempotentAnswer(id=self._id, tenant=self._tenant, digest=self._digest, sealed=sealed)
        writing = getattr(self._request.state, "writing", None)
        if writing is None:  # the call stores nothing else, like one that makes a token
            async with self._platform.database.write() as session:
                await idempotency.add(session, row)
        else:
            await idempotency.add(writing, row)

    @property
    def _context(self) -> str:
        return f"idempotency_keys.sealed:{self._tenant}:{self._id}"
