"""
What two engines do with nothing around them: no ids, shards, counts or hashes, no tolerance of broken lines.

`floor_*` is the bare polars expression, streamed; `duckdb_*` the same in SQL.
"""

from pathlib import Path
from typing import Any

from tests.benchmarks.setting import DIMENSIONS, MAX_TOKENS, PROMPT, VERSION, input_of

USAGE = "STRUCT(input_tokens BIGINT, output_tokens BIGINT)"
TEXT_OUTPUT = f"STRUCT(content STRUCT(text VARCHAR)[], stop_reason VARCHAR, usage {USAGE})"
VECTOR_OUTPUT = "STRUCT(embedding FLOAT[], inputTextTokenCount BIGINT)"


def floor_format(folder: Path) -> None:
    """One struct, written as JSON Lines."""
    import polars as pl

    text = pl.format(PROMPT.replace("{transcript}", "{}").replace("{topic}", "{}"), "transcript", "topic")
    content = pl.concat_list(pl.struct(pl.lit("text").alias("type"), text.alias("text"))).alias("content")
    message = pl.struct(pl.lit("user").alias("role"), content)
    body = pl.struct(
        pl.lit(VERSION).alias("anthropic_version"),
        pl.lit(MAX_TOKENS).alias("max_tokens"),
        pl.concat_list(message).alias("messages"),
    )
    pl.scan_parquet(input_of(folder)).select(recordId="id", modelInput=body).sink_ndjson(folder / "floor.jsonl")


def floor_parse(folder: Path) -> None:
    """One scan and one join."""
    import polars as pl

    usage = pl.Struct({"input_tokens": pl.Int64, "output_tokens": pl.Int64})
    content = pl.List(pl.Struct({"text": pl.String}))
    lines = _lines(folder, pl.Struct({"content": content, "stop_reason": pl.String, "usage": usage}))
    field = pl.col("modelOutput").struct.field
    answers = lines.select(
        id="recordId",
        response=field("content").list.first().struct.field("text"),
        stop_reason=field("stop_reason"),
        input_tokens=field("usage").struct.field("input_tokens"),
        output_tokens=field("usage").struct.field("output_tokens"),
    )
    pl.scan_parquet(input_of(folder)).join(answers, on="id", how="left").sink_parquet(folder / "floor.parquet")


def floor_embed(folder: Path) -> None:
    """The same with vectors."""
    import polars as pl

    lines = _lines(folder, pl.Struct({"embedding": pl.List(pl.Float32), "inputTextTokenCount": pl.Int64}))
    field = pl.col("modelOutput").struct.field
    vector = field("embedding").cast(pl.Array(pl.Float32, DIMENSIONS))
    answers = lines.select(id="recordId", embedding=vector, input_tokens=field("inputTextTokenCount"))
    pl.scan_parquet(input_of(folder)).join(answers, on="id", how="left").sink_parquet(folder / "floor.parquet")


def floor_join(folder: Path) -> None:
    """One join of two scans."""
    import polars as pl

    store = folder / "store" / "calls"
    answers = pl.scan_parquet(store / "outputs" / "*.parquet")
    rows = pl.scan_parquet(store / "raw" / "*" / "*.parquet")
    rows.join(answers, on="record_id", how="left").sink_parquet(folder / "floor.parquet")


def floor_ingest_parquet(folder: Path) -> None:
    """Rows with a number, written as Parquet."""
    import polars as pl

    _number(folder, pl.scan_parquet(input_of(folder)))


def floor_ingest_csv(folder: Path) -> None:
    """The same from CSV."""
    import polars as pl

    _number(folder, pl.scan_csv(folder / "input.csv", infer_schema=False))


def floor_ingest_datasets(folder: Path) -> None:
    """The Arrow batches that `datasets` streams, written as Parquet."""
    from datasets import load_dataset
    from pyarrow import table
    from pyarrow.parquet import ParquetWriter

    dataset = load_dataset(str(folder / "dataset"), split="train", streaming=True).with_format("arrow")
    writer = None
    for batch in map(table, dataset.iter(batch_size=16_384)):
        writer = writer or ParquetWriter(folder / "floor.parquet", batch.schema, compression="zstd")
        writer.write_table(batch)
    if writer:
        writer.close()


def duckdb_format(folder: Path) -> None:
    """One struct, written as JSON Lines."""
    text = (
        PROMPT.replace("'", "''").replace("{transcript}", "' || transcript || '").replace("{topic}", "' || topic || '")
    )
    content = f"[{{'type': 'text', 'text': '{text}'}}]"
    messages = f"[{{'role': 'user', 'content': {content}}}]"
    body = f"{{'anthropic_version': '{VERSION}', 'max_tokens': {MAX_TOKENS}, 'messages': {messages}}}"
    query = f"SELECT id AS recordId, {body} AS modelInput FROM '{input_of(folder)}'"  # noqa: S608 - our own files
    _copy(query, folder / "duckdb.jsonl", "FORMAT json")


def duckdb_parse(folder: Path) -> None:
    """One scan and one join."""
    output = "o.modelOutput"
    usage = f"{output}.usage.input_tokens, {output}.usage.output_tokens"
    answer = f"array_to_string([b.text FOR b IN {output}.content], '') AS response, {output}.stop_reason, {usage}"
    _copy(_joined(folder, answer, TEXT_OUTPUT), folder / "duckdb.parquet")


def duckdb_embed(folder: Path) -> None:
    """The same with vectors."""
    answer = f"o.modelOutput.embedding::FLOAT[{DIMENSIONS}] AS embedding, o.modelOutput.inputTextTokenCount"
    _copy(_joined(folder, answer, VECTOR_OUTPUT), folder / "duckdb.parquet")


def duckdb_join(folder: Path) -> None:
    """One join of two scans."""
    store = folder / "store" / "calls"
    sides = f"'{store}/raw/*/*.parquet' r LEFT JOIN '{store}/outputs/*.parquet' a USING (record_id)"
    _copy(f"SELECT * FROM {sides}", folder / "duckdb.parquet")  # noqa: S608 - our own files


def duckdb_ingest_parquet(folder: Path) -> None:
    """Rows with a number, written as Parquet."""
    query = f"SELECT *, row_number() OVER () AS record_id FROM '{input_of(folder)}'"  # noqa: S608 - our own files
    _copy(query, folder / "duckdb.parquet")


def duckdb_ingest_csv(folder: Path) -> None:
    """The same from CSV."""
    source = f"read_csv('{folder}/input.csv', all_varchar = true)"
    query = f"SELECT *, row_number() OVER () AS record_id FROM {source}"  # noqa: S608 - our own files
    _copy(query, folder / "duckdb.parquet")


def _joined(folder: Path, answer: str, output: str) -> str:
    columns = f"{{recordId: 'VARCHAR', modelOutput: '{output}'}}"
    lines = f"read_json('{folder}/outputs/*.jsonl.out', format = 'newline_delimited', columns = {columns})"
    return f"SELECT i.*, {answer} FROM '{input_of(folder)}' i LEFT JOIN {lines} o ON i.id = o.recordId"  # noqa: S608


def _copy(query: str, path: Path, options: str = "FORMAT parquet, COMPRESSION zstd") -> None:
    import duckdb

    duckdb.sql(f"COPY ({query}) TO '{path}' ({options})")


def _lines(folder: Path, output: Any) -> Any:
    import polars as pl

    schema = {"recordId": pl.String, "modelOutput": output}
    return pl.scan_ndjson(folder / "outputs" / "*.jsonl.out", schema=schema)


def _number(folder: Path, rows: Any) -> None:
    rows.with_row_index("record_id").sink_parquet(folder / "floor.parquet")
