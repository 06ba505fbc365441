"""How pages write what is too long to be shown."""

import pytest

from api.pages.shown import address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example.com", "api.example.com"),
        ("https://api.example.com/", "api.example.com"),
        ("https://user:secret@api.example.com:8443/orders?key=secret#here", "api.example.com:8443/orders"),
        ("https://hooks.example.com/services/T01234567/B01234567/first", "hooks.example.com/se…567/B01234567/first"),
        ("https://hooks.example.com/services/T01234567/B01234567/other", "hooks.example.com/se…567/B01234567/other"),
        (None, ""),
    ],
)
def test_a_url_is_shown_by_host_and_path_without_its_middle(url: str | None, shown: str) -> None:
    assert address(url) == shown
    assert len(shown) <= 40
