"""Files on S3 are read by polars itself: partition columns of Parquet are kept, and what it cannot read is named."""

import io

import polars as pl
import pytest

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import open_source
from bedrock_assets.storage.store import Store


def read(path: str) -> pl.DataFrame:
    """All rows."""
    return pl.concat(open_source(SourceSpec(path=path)).batches())


def test_files_on_s3(s3_store: Store) -> None:
    """One file and a pattern are read; folders `key=value` are columns; a broken file is an error of the source."""
    url, file = f"s3://{s3_store.s3.bucket}", io.BytesIO()
    pl.DataFrame({"text": ["a"]}).write_parquet(file)
    for year in (2026, 2027):
        # Not a key of ours, which may have no `=`.
        s3_store.s3.client.put_object(Bucket=s3_store.s3.bucket, Key=f"odd/year={year}/a.parquet", Body=file.getvalue())
    assert read(f"{url}/odd/**/*.parquet").to_dict(as_series=False) == {"text": ["a", "a"], "year": [2026, 2027]}
    assert read(f"{url}/odd/year=2026/a.parquet").columns == ["text"]
    s3_store.put("broken.parquet", b"PAR1")
    s3_store.put("a.csv", b"*,text\nx,b\n")
    s3_store.put("a.jsonl", b'{"m":{},"text":"c"}\n')
    assert read(s3_store.path("a.csv")).row(0) == ("x", "b")
    assert read(s3_store.path("a.jsonl")).row(0) == ("{}", "c")
    with pytest.raises(ConfigError, match=r"broken\.parquet' cannot be read"):
        read(s3_store.path("broken.parquet"))
