"""`scan_table` finds the store as commands do, or takes another, and says what is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from bedrock_assets import scan_table
from bedrock_assets.errors import ConfigError
from bedrock_assets.resources.store import LOCAL_STORE, StoreResource
from bedrock_assets.storage.store import Store
from bedrock_assets.table.join import join_table
from tests.labs.stages import MakePipeline, Stages, texts

IDS = [f"c{i}" for i in range(5)]


@pytest.fixture
def published(store: Store, make_pipeline: MakePipeline) -> Store:
    """A store with a table of five rows."""
    stages = Stages.of(make_pipeline(texts(5), id_column="id"), store)
    stages.answer_all()
    join_table(store, stages.pipeline, stages.raw)
    return store


def ids(rows: pl.LazyFrame) -> list[str]:
    """The input's ids."""
    return rows.select("id").collect()["id"].to_list()


def test_each_way_to_name_a_store(published: Store) -> None:
    """Its URL or folder, the store itself, or the resource."""
    for store in (published.url, Path(published.url), published, StoreResource(url=published.url)):
        assert ids(scan_table("calls", store)) == IDS


def test_the_store_of_the_environment(published: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument it is the one that all commands use."""
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", published.url)
    assert ids(scan_table("calls")) == IDS


def test_on_s3(s3_store: Store, make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on S3, by its URL, with Region, endpoint and credentials of the environment."""
    stages = Stages.of(make_pipeline(texts(5), id_column="id"), s3_store)
    stages.answer_all()
    join_table(s3_store, stages.pipeline, stages.raw)
    monkeypatch.setenv("AWS_REGION", s3_store.region or "")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_store.endpoint_url or "")
    assert ids(scan_table("calls", s3_store.url)) == IDS
    monkeypatch.setenv("BEDROCK_ASSETS_STORE", s3_store.url)
    assert ids(scan_table("calls").filter(pl.col("status") == "ok")) == IDS


@pytest.mark.parametrize("start", [".", "notebooks"])
def test_the_local_store_of_a_project(
    published: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """A local stack's store is found in the current folder, and from any folder of the project."""
    shop = tmp_path / "shop"
    (shop / "shop" / "defs").mkdir(parents=True)
    (shop / "notebooks").mkdir()
    (shop / "dg.toml").write_text('directory_type = "project"\n[project]\nroot_module = "shop"\n')
    shutil.copytree(published.root, shop / LOCAL_STORE)
    monkeypatch.delenv("BEDROCK_ASSETS_STORE", raising=False)
    monkeypatch.chdir(shop / start)
    assert ids(scan_table("calls")) == IDS


def test_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made where there is none, and the message has the folder and the cure."""
    monkeypatch.delenv("BEDROCK_ASSETS_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"calls/joined_table: there is no store at .*BEDROCK_ASSETS_STORE") as raised:
        scan_table("calls")
    assert str(tmp_path / LOCAL_STORE) in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_none(published: Store) -> None:
    """A wrong name is told with the tables that there are."""
    with pytest.raises(ConfigError, match=r"no cals/joined_table in .*, which has tables of: calls"):
        scan_table("cals", published)


def test_without_heavy_packages(published: Store) -> None:
    """A script that reads a table imports neither pandas nor DuckDB, nor what models need."""
    heavy = ("datasets", "duckdb", "pandas", "pyarrow", "starlette", "torch")
    code = (
        "import sys; from bedrock_assets import scan_table; "
        f"assert scan_table('calls', {published.url!r}).collect().height == 5; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
