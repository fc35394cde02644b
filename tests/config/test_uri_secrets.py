"""Passwords in URIs: found wherever libpq reads them, refused where a URI cannot have them, and masked in parts."""

import pytest

from bedrock_assets.config.uri_secrets import is_encoded, masked, secrets_of


@pytest.mark.parametrize(
    ("uri", "secrets"),
    [
        ("postgresql://u:a%23b@h/d", ["a%23b", "a#b"]),
        ("postgresql://u:a:b@h/d", ["a:b"]),
        ("postgresql://h/d?user=u&password=a+b", ["a+b", "a b"]),
        ("postgresql://h/d?password=a#b", ["a#b"]),
        ("host=h password=abc dbname=d", ["abc"]),
        ("host=h PASSWORD = 'a b'", ["'a b'", "a b"]),
        ("u:abc@h/d", ["abc"]),
        ("postgresql://reader@[::1]:5432/d?application_name=x", []),
        ("sqlite:////a@b/[c]#d.db", []),
        ("bigquery:///?email=a@b.com", []),
        ("s3://bucket/a@b", []),
    ],
)
def test_what_is_found(uri: str, secrets: list[str]) -> None:
    """As written and decoded; these can be taken apart."""
    assert secrets_of(uri) == secrets
    assert is_encoded(uri)


def test_what_is_refused() -> None:
    """A password that ends the host, a second `@`, brackets: wherever in it."""
    for character in "#/?[]@":
        for password in (f"{character}secret", f"12{character}34", f"a{character}b{character}c", f"secret{character}"):
            assert not is_encoded(f"postgresql://u:{password}@h:5432/d"), password
    assert not is_encoded("postgresql://u:secret@[::1/d")


def test_what_is_masked() -> None:
    """The secret, and pieces that a parser would cut."""
    assert masked("token 'hunter' of hunter#two", ["hunter#two"]) == "token '***' of ***"
    assert masked("a", []) == "a"
