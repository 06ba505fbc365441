"""Every error of the library is in one tree, which webhooks/errors.py draws."""

import ast
import importlib
from pathlib import Path

import pytest

from webhooks import errors

LIBRARY = Path(errors.__file__).parent


def defined() -> list[tuple[str, str]]:
    """Return each error class of the library and its file, without those that only one file knows."""
    return [
        (node.name, file.relative_to(LIBRARY).as_posix())
        for file in sorted(LIBRARY.rglob("*.py"))
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and not node.name.startswith("_")
    ]


@pytest.mark.parametrize(("name", "file"), defined())
def test_an_error_derives_from_the_library_s_base_and_is_drawn(name: str, file: str) -> None:
    module = importlib.import_module(f"webhooks.{file.removesuffix('.py').replace('/', '.')}")

    assert issubclass(getattr(module, name), errors.WebhooksError)
    [line] = [line for line in (errors.__doc__ or "").splitlines() if name in line.split()]
    assert file == "errors.py" or file in line, f"{name} is in {file}"


def test_the_drawing_names_no_error_that_is_gone() -> None:
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error") and "." not in word}

    assert drawn - {"ValueError"} == {name for name, _ in defined()}


def test_an_outcome_error_carries_its_outcome_and_its_message() -> None:
    error = errors.OutcomeError("timeout", "no answer within 15 s")

    assert (error.outcome, str(error)) == ("timeout", "no answer within 15 s")
