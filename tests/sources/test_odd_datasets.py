"""Dataset folders as people have them: each is read rightly, or refused with the reason that `datasets` gives."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bedrock_assets.config.source import SourceSpec
from bedrock_assets.errors import ConfigError
from bedrock_assets.sources import open_source
from bedrock_assets.sources.huggingface import FILES_AT_ONCE
from bedrock_assets.storage.store import Store
from tests.labs.stages import Stages, build_pipeline

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


def read(folder: Path) -> pl.DataFrame:
    """All rows of a dataset folder."""
    return pl.concat(open_source(SourceSpec.model_validate({"huggingface": {"id": str(folder)}})).batches())


REFUSED = {
    "null against text": ({"a.jsonl": '{"x":null}\n', "b.jsonl": '{"x":"s"}\n'}, "cast array of type string to null"),
    "other columns": ({"a.jsonl": '{"x":1}\n', "b.jsonl": '{"y":"s"}\n'}, "Couldn't cast"),
    "text against numbers": ({"a.jsonl": '{"x":1}\n', "b.jsonl": '{"x":"s"}\n'}, "Failed to parse string"),
    "a script": ({"a.csv": "x\n1\n", "SCRIPT.py": "import datasets\n"}, "Dataset scripts are no longer supported"),
    "nothing": ({}, "doesn't contain any data files"),
    "broken JSON": ({"a.jsonl": '{"x":\n'}, "JSON parse error"),
    "half an emoji": ({"a.jsonl": '{"x":"a\\ud83d"}\n'}, "The surrogate pair in string is invalid"),
    "half a Parquet file": ({"a.parquet": "PAR1"}, "smaller than the minimum file footer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_are_refused(tmp_path: Path, case: str) -> None:
    """Whatever the library raises is an error of the source, with its reason."""
    files, message = REFUSED[case]
    for name, content in files.items():
        (tmp_path / name.replace("SCRIPT", tmp_path.name)).write_text(content)
    with pytest.raises(ConfigError, match=rf"dataset huggingface:.*\[train\] cannot be read: .*{message}"):
        read(tmp_path)


def test_images_are_read_from_their_files(tmp_path: Path) -> None:
    """A folder of images gives their bytes, a few files at a time, and only files of the folder."""
    (tmp_path / "images").mkdir()
    for i in range(FILES_AT_ONCE + 1):
        (tmp_path / "images" / f"{i:03}.png").write_bytes(PNG + bytes([i]))
    batches = list(open_source(SourceSpec.model_validate({"huggingface": {"id": str(tmp_path / "images")}})).batches())
    assert [len(batch) for batch in batches] == [FILES_AT_ONCE, 1]
    assert batches[1]["image"].struct.field("bytes").item() == PNG + bytes([FILES_AT_ONCE])


def test_images_become_records(tmp_path: Path) -> None:
    """The images of a folder are in the requests."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").write_bytes(PNG)
    task: Any = {"text": {"prompt": "What is this?", "images": ["image"]}}
    pipeline = build_pipeline(tmp_path / "x", source={"huggingface": {"id": str(tmp_path / "images")}}, task=task)
    content = Stages.of(pipeline, Store(str(tmp_path / "bucket"))).sent()[0]["modelInput"]["messages"][0]["content"]
    assert content[0]["source"]["media_type"] == "image/png"


def test_files_elsewhere_are_not_read(tmp_path: Path) -> None:
    """A dataset that names a file outside of its own folder does not get its content."""
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "data").mkdir()
    rows = pl.DataFrame({"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}]})
    dtype = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    rows.with_columns(pl.col("image").cast(dtype)).write_parquet(tmp_path / "data" / "a.parquet")
    assert read(tmp_path / "data")["image"].struct.field("bytes").item() is None


def test_arrays_of_two_dimensions(tmp_path: Path) -> None:
    """The library's own extension types are read as lists."""
    import datasets

    features = datasets.Features({"m": datasets.Array2D((2, 2), "int32")})
    datasets.Dataset.from_dict({"m": [[[1, 2], [3, 4]]]}, features=features).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path)["m"].to_list() == [[[1, 2], [3, 4]]]
