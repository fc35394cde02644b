"""How a database is found and opened: the URI of the YAML or of a variable, its driver, and errors without secrets."""

import importlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bedrock_assets.config.source import ConnectionSpec
from bedrock_assets.config.uri_secrets import NOT_ENCODED, is_encoded, masked, secrets_of
from bedrock_assets.errors import ConfigError


def uri_of(spec: ConnectionSpec, where: str) -> str:
    """
    The URI of a database, with its password.

    Args:
        where: Path of the key, for messages.

    Raises:
        ConfigError: The variable is not set, or its password is not percent-encoded.
    """
    if spec.connection is not None:
        return spec.connection
    name = spec.connection_env or ""
    if not (uri := os.environ.get(name)):
        raise ConfigError(f"{where}: environment variable {name} is not set; set it to the URI of the database")
    if not is_encoded(uri):
        raise ConfigError(f"{where}: environment variable {name}: {NOT_ENCODED}")
    return uri


def scheme_of(uri: str) -> str:
    """`postgresql` of `postgresql+psycopg2://...`; empty without one."""
    found = re.match(r"([A-Za-z][\w.-]*)(\+[\w.+-]+)?://", uri)
    return found[1].lower() if found else ""


def libpq_uri(uri: str) -> str:
    """The URI as PostgreSQL's own library reads it."""
    return re.sub(r"^(redshift|postgresql|postgres)(\+\w+)?://", "postgresql://", uri)


def driver(module: str, package: str, where: str) -> Any:
    """
    The module of a driver.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{where} needs a driver that is not installed: pip install '{package}'") from error


def database_file(uri: str, folder: Path) -> Path | None:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, as SQLAlchemy writes them; None if unnamed."""
    written = unquote(urlsplit(uri).path).removeprefix("/")
    return folder / written if written else None


def without_secrets(text: str, uri: str) -> str:
    """A text, such as a driver's error, without the URI, its passwords and parts of them."""
    return masked(text.replace(uri, "***").replace(libpq_uri(uri), "***"), secrets_of(uri))
