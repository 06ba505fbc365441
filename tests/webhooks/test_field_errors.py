"""What is wrong with a field is said in our words, and never repeats what was given."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webhooks.field_errors import told

SECRET = "canary"


class _None(BaseModel):
    type: Literal["None"]


class _Pair(BaseModel):
    type: Literal["Key Value Pair"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(5, ge=1, le=30)
    share: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    active: bool = True
    text: str = Field("", max_length=3)
    name: str = Field("a", min_length=1)
    code: str = Field("abcd", min_length=4)
    key: str = Field("A", pattern="^[A-Z]{1,3}$")
    items: list[int] = Field([1], min_length=1, max_length=2)
    settings: dict[str, int] = {}
    place: Literal["header", "query"] = "header"
    proof: Annotated[_None | _Pair, Field(discriminator="type")] = _None(type="None")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": SECRET}, "must be a whole number"),
        ({"count": 1.5}, "must be a whole number"),
        ({"count": 0}, "must be at least 1"),
        ({"count": 31}, "must be at most 30"),
        ({"share": SECRET}, "must be a number"),
        ({"share": float("inf")}, "must be a number"),
        ({"share": 0}, "must be greater than 0"),
        ({"share": 1}, "must be less than 1"),
        ({"active": SECRET}, "must be true or false"),
        ({"text": 1}, "must be a string"),
        ({"text": SECRET}, "must have at most 3 characters"),
        ({"name": ""}, "must not be empty"),
        ({"code": "abc"}, "must have at least 4 characters"),
        ({"key": "abc"}, "character 1 is U+0061 (LATIN SMALL LETTER A), which is not allowed here; allowed are [A-Z]"),
        ({"items": SECRET}, "must be a list"),
        ({"items": []}, "must not be empty"),
        ({"items": [1, 2, 3]}, "must have at most 2 items"),
        ({"settings": SECRET}, "must be an object"),
        ({"place": SECRET}, "must be 'header' or 'query'"),
        ({"proof": {"type": SECRET}}, "the type must be one of: None, Key Value Pair"),
        ({"proof": {}}, "`type` is required"),
        ({"proof": SECRET}, "must be an object"),
        ({"other": SECRET}, "there is no such field, or it cannot be changed"),
    ],
)
def test_each_kind_of_error_is_said_plainly(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _Body.model_validate(given)

    assert [told(error) for error in caught.value.errors()] == [said]
    assert SECRET not in said
