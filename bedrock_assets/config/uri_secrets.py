"""
Passwords in the URI of a database.

Read by hand: `urlsplit` takes the first `#`, `/` or `?` of a password that is not encoded for the end of the host, and
fails at a `[`.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

NOT_ENCODED = (
    "the URI cannot be taken apart; percent-encode the password and the user: # is %23, / is %2F, ? is %3F, @ is %40, "
    "[ is %5B, ] is %5D, % is %25"
)
_NAME = "password|passwd|pwd|token|secret|key"
_KEYWORD = re.compile(rf"(?:{_NAME})\w*\s*=\s*('(?:\\.|[^'\\])*'|[^\s']+)", re.IGNORECASE)
"""A parameter as libpq's keyword form has it, `host=h password=x`."""
_DELIMITERS = re.compile(r"[#/?\[\]@:%&=+\s]")
_SHOWN_PART = 3
"""Characters of a password that a message may have by chance."""


def is_encoded(uri: str) -> bool:
    """Whether user and password end where a reader of URIs says that they do."""
    authority, beyond = _parts(uri)
    user = authority.rpartition("@")[0]
    if re.search(r"[@\[\]]", user) or ("@" in beyond and re.search("[:@]", authority)):
        return False
    try:
        urlsplit(uri)
    except ValueError:
        return False
    return True


def secrets_of(uri: str) -> list[str]:
    """Passwords in a URI, as written and decoded: before the host, or among its parameters, as libpq takes them."""
    return [secret for secret in dict.fromkeys(_secrets(uri)) if secret]


def masked(text: str, secrets: list[str]) -> str:
    """A text without secrets and what a driver may have cut from them."""
    parts = {part for secret in secrets for part in _DELIMITERS.split(secret) if len(part) > _SHOWN_PART}
    for secret in sorted({*secrets, *parts}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(uri: str) -> Iterator[str]:
    authority, beyond = _parts(uri)
    password = authority.rpartition("@")[0].partition(":")[2]
    yield from (password, unquote(password))
    for pair in beyond.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if re.search(_NAME, unquote_plus(name), re.IGNORECASE):
            yield from (value, unquote(value), unquote_plus(value))
    if "://" not in uri:
        for value in _KEYWORD.findall(uri):
            yield from (value, value.strip("'"))


def _parts(uri: str) -> tuple[str, str]:
    """What is before the path, and the rest."""
    rest = uri.partition("://")[2] if "://" in uri else uri
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return authority, rest[len(authority) :]
