"""Forms that a browser sends (application/x-www-form-urlencoded)."""

from urllib.parse import parse_qs

from fastapi import Request

from api.protocol.bounded_body import bounded_body
from api.protocol.problems import ProblemError

_MAX_FIELDS = 1_000


class Form:
    """The fields of a form. A name may occur several times."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def get(self, name: str, default: str = "") -> str:
        """Return the last value of this name."""
        return self._values.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        """Return each value of this name that is not empty."""
        return [value for value in self._values.get(name, []) if value]

    def __contains__(self, name: str) -> bool:
        return name in self._values


async def read(request: Request, max_bytes: int, seconds: float) -> Form:
    """Return the form. `seconds`: how long it may take to arrive. Raises ProblemError 400, 408, 413 and
    422."""
    content = await bounded_body(request, max_bytes, seconds)
    try:
        values = parse_qs(content.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise ProblemError(422, f"the form has more than {_MAX_FIELDS} fields") from None
    return Form({name: [value.replace("\r\n", "\n") for value in all] for name, all in values.items()})
