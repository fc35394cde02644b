"""What is wrong with settings, in one line that names each of them."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import ValidationError


def in_one_line(error: ValidationError, known: Iterable[str]) -> str:
    """
    The problems of an object in one line.

    Args:
        known: Its fields, of which the nearest is proposed for an unknown one.
    """
    names = list(known)
    return "; ".join(
        _problem(".".join(map(str, problem["loc"])), problem["type"], problem["msg"], names)
        for problem in error.errors(include_url=False)
    )


def _problem(where: str, kind: str, message: str, known: list[str]) -> str:
    message = message.removeprefix("Value error, ")
    if kind != "extra_forbidden":
        return f"{where}: {message[0].lower()}{message[1:]}" if where else message
    near = get_close_matches(where, known, n=1)
    return f"{where} is not known{f' (did you mean {near[0]}?)' if near else ''}"
