"""What holds for every JSON Web Token that somebody shows us, whoever has issued it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

from webhooks.errors import WebhooksError

MAX_TOKEN_CHARACTERS = 16_384
"""A longer token is refused unread. Tokens of identity providers name a person's groups, which can be many."""
LEEWAY_SECONDS = 30
"""How much the clocks of the issuer and of this machine may differ."""
ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105
"""The `typ` of access tokens (RFC 9068)."""


class RefusedTokenError(WebhooksError):
    """A bearer token is not accepted. The message is for the operator's log: it would help whoever forges tokens."""


@dataclass(frozen=True)
class Verified:
    """The claims of a token that its issuer has signed and that is for us. `key` is the id of the key that signed."""

    key: str
    claims: dict[str, Any]


class PinnedAlgorithms(JWSRegistry):
    """Allows these algorithms and no other, whatever the token's header says. joserfc's own registry warns about the
    name EdDSA, which RFC 9864 replaced; most libraries know only that name."""

    max_header_length = 4_096
    """Bytes. Some providers put their certificate into the header."""

    def __init__(self, algorithms: Collection[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)
        self._pinned = frozenset(algorithms)

    def get_alg(self, name: str) -> Any:
        """Return the algorithm. Raises UnsupportedAlgorithmError if it is not one of ours."""
        if name not in self._pinned:
            raise UnsupportedAlgorithmError("this algorithm is not allowed")
        return self.algorithms[name]


def type_of(header: dict[str, Any]) -> str:
    """Return the `typ` of a token's header, in lower case and without `application/`; empty if there is none."""
    return str(header.get("typ", "")).lower().removeprefix("application/")


def header_of(token: str, registry: PinnedAlgorithms) -> dict[str, Any]:
    """Return the header of a token, which nobody has verified. Raises RefusedTokenError."""
    try:
        return dict(jws.extract_compact(token.encode(), registry=registry).headers())
    except (JoseError, ValueError, RecursionError) as error:
        raise RefusedTokenError(f"not a token: {error}") from None
