"""The sink `sql`: vectors by pgvector, tables that do not fit, rights that lack, and no password told to anybody."""

import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import polars as pl
import psycopg2
import pytest
from pydantic import ValidationError

from bedrock_assets.config.pipeline import PipelineSpec
from bedrock_assets.errors import BedrockAssetsError, ConfigError, StoreConflict, StoreError
from bedrock_assets.outputs.collect import Collector
from bedrock_assets.sinks import Sent, database_files
from bedrock_assets.sinks.sql import publish_sql
from bedrock_assets.storage.manifests import TableManifest
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.postgres import PASSWORD, postgres, uri_of
from tests.labs.stages import TITAN, MakePipeline, Stages, jsonl, texts

LIMITS = {"min_records_per_job": 1, "max_records_per_job": 4, "max_jobs": 1}
DIMENSIONS = 256


class Psql:
    """Statements on the server as its owner."""

    def __init__(self, uri: str) -> None:
        self._connection = psycopg2.connect(uri)
        self._connection.autocommit = True

    def __call__(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


@pytest.fixture
def psql(server: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Psql]:
    """A server without the table, which `OUT` names."""
    monkeypatch.setenv("OUT", server)
    with closing(Psql(server)) as opened:
        opened("DROP TABLE IF EXISTS public.calls; DROP EXTENSION IF EXISTS vector CASCADE")
        yield opened


def built(make_pipeline: MakePipeline, store: Store, frame: pl.DataFrame, **sql: Any) -> tuple[Stages, TableManifest]:
    """An answered table; the sink has its texts."""
    settings = {"connection_env": "OUT", "table": "public.calls", "columns": ["text", "status"], **sql}
    stages = Stages.of(make_pipeline(frame, id_column="id", limits=LIMITS, sinks={"sql": settings}), store)
    stages.answer_all()
    return stages, join_table(store, stages.pipeline, stages.raw)


def publish(make_pipeline: MakePipeline, store: Store, frame: pl.DataFrame, **sql: Any) -> Sent:
    """Answer a table and write it."""
    stages, table = built(make_pipeline, store, frame, **sql)
    return publish_sql(store, stages.pipeline, table)


def embedded(make_pipeline: MakePipeline, store: Store, values: list[float]) -> Sent:
    """Embed texts, whose vectors begin with these values, and write them with one that has none."""
    task = {"embedding": {"column": "text", "dimensions": DIMENSIONS}}
    sink = {"sql": {"connection_env": "OUT", "table": "calls", "columns": ["embedding"]}}
    said = [f"call {value}" for value in (*values, "without")]
    frame = texts(len(said)).with_columns(text=pl.Series(said))
    pipeline = make_pipeline(frame, id_column="id", model=TITAN, task=task, sinks=sink)
    stages = Stages.of(pipeline, store)
    answers = [
        {"recordId": record, "modelOutput": {"embedding": [value, *[0.5] * (DIMENSIONS - 1)], "inputTextTokenCount": 3}}
        for record, value in zip(["c0", "c1", "c2"], values, strict=False)
        if record in stages.ids()
    ]
    stages.write(jsonl(answers))
    Collector(pipeline.workload, store, stages.shards[0]).publish(stages.collect())
    return publish_sql(store, pipeline, join_table(store, pipeline, stages.raw))


def column_types(psql: Psql) -> dict[str, str]:
    """Of the table's columns."""
    return dict(
        psql(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'calls'::regclass AND attnum > 0"
        )
    )


def test_vectors(psql: Psql, make_pipeline: MakePipeline, store: Store) -> None:
    """With the extension vectors are `vector(n)`, by which one searches; without it, or in a table of reals, reals."""
    assert embedded(make_pipeline, store, [1, 2, 3]).n_written == 4
    assert column_types(psql)["embedding"] == "real[]"
    psql("CREATE EXTENSION vector")
    assert embedded(make_pipeline, store, [1, 2, 4]).n_written == 1
    psql("DROP TABLE calls")
    assert embedded(make_pipeline, store, [1, 2, 4]).n_written == 4
    assert column_types(psql)["embedding"] == f"vector({DIMENSIONS})"
    near = f"'[1.9{', 0.5' * (DIMENSIONS - 1)}]'"
    assert psql("SELECT record_id FROM calls ORDER BY embedding <-> " + near + " LIMIT 1") == [("c1",)]  # noqa: S608
    assert psql("SELECT record_id FROM calls WHERE embedding IS NULL") == [("c3",)]
    assert embedded(make_pipeline, store, [1, 7]).n_written == 2
    assert psql("SELECT record_id FROM calls ORDER BY record_id") == [("c0",), ("c1",), ("c2",)]
    psql("DROP TABLE calls; CREATE TABLE calls (record_id text PRIMARY KEY, embedding vector(3), bedrock_row text)")
    with pytest.raises(StoreError, match="expected 3 dimensions, not 256"):
        embedded(make_pipeline, store, [1])


def test_a_table_of_ones_own(psql: Psql, make_pipeline: MakePipeline, store: Store) -> None:
    """Its other columns and rows stay, and types that can hold ours do; what was changed there is put right."""
    psql(
        "CREATE TABLE calls (note text DEFAULT 'mine', record_id varchar(40) UNIQUE, text varchar, status text, "
        "bedrock_row text); INSERT INTO calls (record_id, text) VALUES ('other', 'of somebody else')"
    )
    publish(make_pipeline, store, texts(3))
    psql("UPDATE calls SET note = 'seen' WHERE record_id = 'c1'; DELETE FROM calls WHERE record_id = 'c2'")
    psql("UPDATE calls SET bedrock_row = NULL WHERE record_id = 'c0'")
    changed = texts(3).with_columns(text=pl.when(pl.col("id") == "c1").then(pl.lit("anew")).otherwise("text"))
    sent = publish(make_pipeline, store, changed)
    assert (sent.n_written, sent.n_deleted, sent.n_unchanged) == (3, 0, 0)
    assert psql("SELECT record_id, text, note FROM calls ORDER BY record_id") == [
        ("c0", "call 0", "mine"),
        ("c1", "anew", "seen"),
        ("c2", "call 2", "mine"),
        ("other", "of somebody else", "mine"),
    ]


NAMES = "record_id text PRIMARY KEY, text text, bedrock_row text"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (f"({NAMES})", r"no column 'status'.*ALTER TABLE \"public\".\"calls\" ADD COLUMN \"status\" text"),
        (f"({NAMES}, status text, more int NOT NULL)", "a column 'more' that is NOT NULL, has no default"),
        (f"({NAMES}, status int)", 'column "status" is of type integer but expression is of type text'),
        ("(record_id text, text text, status text, bedrock_row text)", "no unique or exclusion constraint"),
        ("(record_id char(10) PRIMARY KEY, text text, status text, bedrock_row text)", "'record_id' .* is character,"),
        (
            "(record_id int PRIMARY KEY, text text, status text, bedrock_row text)",
            "'record_id' .* is integer, .*`text`",
        ),
        (f"({NAMES.removesuffix('text')} char(40), status text)", "'bedrock_row' of table public.calls is character,"),
        (f"({NAMES}, status varchar(1))", r"value too long for type character varying\(1\)"),
    ],
)
def test_tables_that_do_not_fit(psql: Psql, make_pipeline: MakePipeline, store: Store, table: str, told: str) -> None:
    """One clear error, and the table is as it was."""
    psql(f"CREATE TABLE calls {table}")
    with pytest.raises(StoreError, match=told):
        publish(make_pipeline, store, texts(3))
    assert psql("SELECT count(*) FROM calls") == [(0,)]


def test_who_may_not_write(
    psql: Psql, make_pipeline: MakePipeline, store: Store, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No right to read, to write or to connect: told without the password, and nothing is changed."""
    publish(make_pipeline, store, texts(3))
    psql(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'of-the-reader'; GRANT SELECT ON calls TO reader"
    )
    reader = server.replace(f"dagster:{PASSWORD}", "reader:of-the-reader")
    uris = {
        reader: "permission denied for table calls",
        f"{server}_other": "database .* does not exist",
        server.replace(PASSWORD, "wrong-secret"): "password authentication failed",
        server.replace("127.0.0.1", "localhost.invalid"): "could not translate|not known|resolve",
    }
    for uri, told in uris.items():
        monkeypatch.setenv("OUT", uri)
        with pytest.raises(BedrockAssetsError, match=told) as raised:
            publish(make_pipeline, store, texts(5))
        shown = "".join(map(str, (raised.value, raised.value.__cause__)))
        assert not any(secret in shown for secret in (PASSWORD, "wrong-secret", "of-the-reader"))
    assert psql("SELECT count(*) FROM calls") == [(3,)]
    psql("REVOKE ALL ON calls FROM reader; DROP ROLE reader")


def test_passwords_with_delimiters(
    psql: Psql, make_pipeline: MakePipeline, store: Store, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused where a URI cannot have them, without a piece of the password; encoded ones are shown nowhere."""
    for written in ("pa#word1", "pa/word1", "pa?word1", "pa[word1", "pa]word1", "pa@word1", "12/word1", "pa/x?y@word1"):
        monkeypatch.setenv("OUT", server.replace(PASSWORD, written))
        with pytest.raises(ConfigError, match=r"variable OUT: .*percent-encode the password") as raised:
            publish(make_pipeline, store, texts(2))
        assert not [part for part in ("word1", "pa#", "127.0.0.1", written) if part in str(raised.value)]
    psql("DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN SUPERUSER PASSWORD 'pa#w/?[@%word1'")
    encoded = server.replace(f"dagster:{PASSWORD}", "odd:pa%23w%2F%3F%5B%40%25word1")
    monkeypatch.setenv("OUT", encoded)
    assert "word1" not in publish(make_pipeline, store, texts(2)).address
    for wrong in (encoded.replace("word1", "word1%zz"), encoded.replace("word1", "word2"), f"{encoded}_word1"):
        monkeypatch.setenv("OUT", wrong)
        with pytest.raises(StoreError, match="cannot be written") as refused:
            publish(make_pipeline, store, texts(2))
        assert not [part for part in ("word1", "word2", "pa%23", "pa#") if part in str(refused.value)]
    psql("DROP OWNED BY odd CASCADE; DROP ROLE odd")


def test_the_address_has_no_secret(psql: Psql, make_pipeline: MakePipeline, store: Store, server: str) -> None:
    """Neither user nor password nor parameters of the URI are in what Dagster shows."""
    sent = publish(make_pipeline, store, texts(2))
    assert sent.address == f"postgresql://{server.partition('@')[2]}#public.calls"


def test_texts_with_nul(psql: Psql, make_pipeline: MakePipeline, store: Store) -> None:
    """PostgreSQL has no NUL in texts: it is left out, and the row is not changed forever."""
    odd = texts(3).with_columns(text=pl.lit("a\0b"), who=pl.struct(name=pl.lit("c\0d")), names=pl.lit(["e\0f"]))
    columns = ["text", "who", "names"]
    assert publish(make_pipeline, store, odd, columns=columns).n_written == 3
    assert psql("SELECT DISTINCT text, who->>'name', names FROM calls") == [("ab", "cd", ["ef"])]
    assert publish(make_pipeline, store, odd, columns=columns).n_written == 0


def test_an_id_that_repeats(make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """In a table of one's own without a key: no row is replaced at random."""
    with closing(sqlite3.connect(tmp_path / "out.db")) as opened:
        opened.execute("CREATE TABLE calls (record_id, text, status, bedrock_row)")
        opened.executemany("INSERT INTO calls (record_id) VALUES (?)", [("c1",), ("c1",)])
        opened.commit()
        place = {"connection_env": None, "connection": "sqlite:///out.db", "table": "calls"}
        with pytest.raises(StoreError, match="ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE"):
            publish(make_pipeline, store, texts(3), **place)
        assert opened.execute("SELECT count(*) FROM calls").fetchone() == (2,)


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_keys_that_are_no_texts(scheme: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """Refused before a row is written; names of a table of one's own may have other capitals."""
    modules: dict[str, Any] = {"duckdb": duckdb, "sqlite": sqlite3}
    place = {"connection_env": None, "connection": f"{scheme}:///out.db", "table": "calls"}
    ids = texts(3).with_columns(id=pl.col("id").str.slice(1))
    for key in ("INTEGER", "NUMERIC(9)"):
        with closing(modules[scheme].connect(str(tmp_path / "out.db"))) as opened:
            opened.execute(
                f"CREATE TABLE calls (record_id {key} PRIMARY KEY, text text, status text, bedrock_row text)"
            )
        with pytest.raises(
            StoreError, match=r"'record_id' of table calls is (INTEGER|NUMERIC|DECIMAL).*make it `text`"
        ):
            publish(make_pipeline, store, ids, **place)
        with closing(modules[scheme].connect(str(tmp_path / "out.db"))) as opened:
            assert opened.execute("SELECT count(*) FROM calls").fetchone() == (0,)
            opened.execute("DROP TABLE calls")
    with closing(modules[scheme].connect(str(tmp_path / "out.db"))) as opened:
        opened.execute("CREATE TABLE calls (Record_ID varchar PRIMARY KEY, TEXT text, status text, bedrock_row text)")
    assert publish(make_pipeline, store, ids, **place).n_written == 3
    assert publish(make_pipeline, store, ids[:2], **place).n_deleted == 1


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_names_with_other_capitals(scheme: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path) -> None:
    """Told before anything is written where they are one name; the cures that the message names are some."""
    frame = texts(3).with_columns(Status=pl.lit("open"))
    place = {"connection_env": None, "connection": f"{scheme}:///out.db", "table": "calls", "columns": None}
    with pytest.raises(ConfigError, match=r"columns 'Status' and 'status' are the same to this .*`output_prefix`"):
        publish(make_pipeline, store, frame, **place)
    assert publish(make_pipeline, store, frame, **{**place, "columns": ["Status"]}).n_written == 3
    assert publish(make_pipeline, store, frame, **{**place, "columns": ["Status"]}).n_written == 0


def test_capitals_in_postgresql(psql: Psql, make_pipeline: MakePipeline, store: Store) -> None:
    """There they make another name."""
    publish(make_pipeline, store, texts(2).with_columns(Status=pl.lit("open")), columns=["Status", "status"])
    assert psql('SELECT DISTINCT "Status", status FROM calls') == [("open", "ok")]


HOLDERS = {
    "duckdb": "import duckdb; held = duckdb.connect({path!r})",
    "sqlite": "import sqlite3; held = sqlite3.connect({path!r}); held.execute('BEGIN IMMEDIATE')",
}
"""Programs that hold a file."""


@pytest.mark.parametrize("scheme", HOLDERS)
def test_a_file_that_another_process_holds(
    scheme: str, make_pipeline: MakePipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for, however long the other one works, up to a limit; then the error says who has it."""
    place = {"connection_env": None, "connection": f"{scheme}:///out.db", "table": "calls"}
    stages, table = built(make_pipeline, store, texts(3), **place)
    program = f"{HOLDERS[scheme].format(path=str(tmp_path / 'out.db'))}; print('holds', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "holds\n"
        monkeypatch.setattr(database_files, "WAIT_S", 0.3)
        with pytest.raises(StoreConflict, match=r"another process.* holds the database '.*out\.db'") as raised:
            publish_sql(store, stages.pipeline, table)
        assert scheme == "sqlite" or f"(PID {holder.pid})" in str(raised.value)
        monkeypatch.setattr(database_files, "WAIT_S", 30)
        ending = Timer(1, holder.stdin.close)
        ending.start()
        assert publish_sql(store, stages.pipeline, table).n_written == 3
        ending.join()


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ({"connection": "postgresql://u:secret@h/d"}, "holds a password"),
        ({"connection": "postgresql://u:se#cret@h/d"}, "holds a password"),
        ({"connection": "host=h user=u password=secret"}, "holds a password"),
        ({"connection": "u:secret@h/d"}, "holds a password"),
        ({"table": "a.b.c"}, "a table, or schema.table"),
        ({"connection": None}, "exactly one of connection, connection_env"),
        ({"columns": []}, "at least 1 item"),
    ],
)
def test_what_is_refused_at_load(make_pipeline: MakePipeline, sql: dict[str, Any], told: str) -> None:
    """Before anything is read."""
    with pytest.raises(ValidationError, match=told) as raised:
        make_pipeline(texts(1), sinks={"sql": {"connection": "duckdb:///a.duckdb", "table": "calls"} | sql})
    assert told != "holds a password" or "pass" in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mysql://h/d", "starts with mysql://; known: postgresql://, postgres://, duckdb://, sqlite://"),
        ("out.db", "has no scheme"),
        ("sqlite:///none/out.db", "no folder for the database"),
    ],
)
def test_what_no_run_can_open(make_pipeline: MakePipeline, store: Store, uri: str, told: str) -> None:
    """One error that names the key."""
    with pytest.raises(ConfigError, match=f"sinks.sql: .*{told}"):
        publish(make_pipeline, store, texts(1), connection=uri, connection_env=None)


def test_secrets_of_a_catalog() -> None:
    """They belong into pyiceberg's own settings, which the message names."""
    spec = {
        "name": "calls",
        "source": {"path": "a.csv"},
        "model": TITAN,
        "task": {"embedding": {"column": "text"}},
        "sinks": {"iceberg": {"table": "a.b", "properties": {"s3.secret-access-key": "x"}}},
    }
    with pytest.raises(ValidationError, match="PYICEBERG_CATALOG__DEFAULT__S3__SECRET_ACCESS_KEY"):
        PipelineSpec.model_validate(spec)


def test_another_server(make_pipeline: MakePipeline, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's PostgreSQL is of another version, and has no extension."""
    with postgres() as env:
        monkeypatch.setenv("OUT", uri_of(env))
        assert publish(make_pipeline, store, texts(3), columns=None, table="calls").n_written == 3
        assert publish(make_pipeline, store, texts(2), columns=None, table="calls").n_deleted == 1
