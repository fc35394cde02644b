"""Images in columns of bytes: told by their first bytes, sent in base64, and never sent when they are none."""

import base64
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.errors import ConfigError, PromptError
from bedrock_assets.families import FAMILIES
from bedrock_assets.pipeline.records import ERROR_CODE, LINE
from tests.labs.dispatch import open_lab
from tests.labs.family_models import MODELS
from tests.labs.stages import MakePipeline

PICTURES = {
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00",
    "gif": b"GIF89a\x01\x00",
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
}
WITH_IMAGES = ["anthropic", "nova", "nova_2", "converse"]
TASK = {"text": {"prompt": "What is on {text}?", "images": ["picture"]}}


def records(make_pipeline: MakePipeline, family: str, pictures: pl.Series, **overrides: Any) -> pl.DataFrame:
    """Records of rows with a picture each."""
    frame = pl.DataFrame({"text": [f"t{i}" for i in range(len(pictures))], "picture": pictures})
    invocation = {"model_invocation_type": FAMILIES[family].invocation_type}
    pipeline = make_pipeline(frame, model=MODELS[family], task=TASK, **invocation, **overrides)
    ids = pl.Series([f"r{i}" for i in range(len(frame))])
    return pipeline.records.make(frame.with_columns(record_id=ids))


def sent(line: str) -> tuple[str, bytes, str]:
    """Format, bytes and text of a record with one image."""
    image, text = json.loads(line)["modelInput"]["messages"][0]["content"]
    source = image["source"] if "source" in image else image["image"]["source"]
    said = source["media_type"].removeprefix("image/") if "media_type" in source else image["image"]["format"]
    return said, base64.b64decode(source.get("data") or source["bytes"], validate=True), text["text"]


@pytest.mark.parametrize("family", WITH_IMAGES)
def test_each_format(make_pipeline: MakePipeline, family: str) -> None:
    """An image goes before the prompt, byte for byte, with the format that its first bytes tell."""
    made = records(make_pipeline, family, pl.Series(list(PICTURES.values())))
    expected = [(name, content, f"What is on t{i}?") for i, (name, content) in enumerate(PICTURES.items())]
    assert [sent(line) for line in made[LINE]] == expected


def test_several_images(make_pipeline: MakePipeline) -> None:
    """Columns are sent in the order in which they are named."""
    frame = pl.DataFrame({"text": ["x"], "a": [PICTURES["png"]], "b": [PICTURES["gif"]]})
    pipeline = make_pipeline(frame, task={"text": {"prompt": "{text}", "images": ["b", "a"]}})
    made = pipeline.records.make(frame.with_columns(record_id=pl.lit("r")))
    content = json.loads(made[LINE].item())["modelInput"]["messages"][0]["content"]
    assert [block.get("source", {}).get("media_type") for block in content] == ["image/gif", "image/png", None]


def test_no_image_is_an_error_row(make_pipeline: MakePipeline) -> None:
    """A null, an empty value and bytes of another kind are rows with an error; the others are sent."""
    pictures = pl.Series([None, b"", b"%PDF-1.7", b"RIFF\x24\x00\x00\x00WAVE", PICTURES["png"]], dtype=pl.Binary)
    codes = records(make_pipeline, "anthropic", pictures)[ERROR_CODE].to_list()
    assert codes == ["null_value", "unknown_image", "unknown_image", "unknown_image", None]


def test_images_of_datasets(make_pipeline: MakePipeline) -> None:
    """A struct with `bytes`, as `datasets` keeps images, is as good as bytes."""
    nested = pl.Series([{"bytes": PICTURES["gif"], "path": "a.gif"}, None])
    made = records(make_pipeline, "nova", nested)
    assert sent(made[LINE][0])[0] == "gif"
    assert made[ERROR_CODE].to_list() == [None, "null_value"]


@pytest.mark.parametrize("pictures", [["s3://bucket/a.png"], [5]])
def test_other_columns_are_refused(make_pipeline: MakePipeline, pictures: list[Any]) -> None:
    """A column of URIs or of anything else is refused by name, with the reason."""
    with pytest.raises(PromptError, match=r"column 'picture' named in task\.text\.images is .*; use bytes"):
        records(make_pipeline, "nova", pl.Series(pictures))


def test_a_missing_column_is_refused(make_pipeline: MakePipeline) -> None:
    """An image column that the dataset lacks is refused."""
    with pytest.raises(PromptError, match="column 'picture' is not in the dataset"):
        next(read_rows(make_pipeline(pl.DataFrame({"text": ["x"]}), task=TASK)))


@pytest.mark.parametrize("family", [n for n, f in FAMILIES.items() if f.kind == "text" and n not in WITH_IMAGES])
def test_families_without_images(make_pipeline: MakePipeline, family: str) -> None:
    """A model that takes no images is refused at load, with those that do."""
    frame = pl.DataFrame({"text": ["x"], "picture": [PICTURES["png"]]})
    with pytest.raises(ConfigError, match="does not take images here"):
        make_pipeline(frame, model=MODELS[family], task=TASK, model_facts={"batch": True})


def test_models_without_images(make_pipeline: MakePipeline) -> None:
    """A model of such a family that reads text alone is refused as well, under either way to invoke it."""
    frame = pl.DataFrame({"text": ["x"], "picture": [PICTURES["png"]]})
    for invocation in ("InvokeModel", "Converse"):
        with pytest.raises(ConfigError, match=r"Nova Micro V1 \(\w+\) does not take images here"):
            make_pipeline(frame, model="us.amazon.nova-micro-v1:0", model_invocation_type=invocation, task=TASK)


@pytest.mark.parametrize("family", WITH_IMAGES)
def test_on_demand(tmp_path: Path, family: str) -> None:
    """A pipeline of images runs through; under Converse boto3 is given bytes, which it encodes itself."""
    invocation = FAMILIES[family].invocation_type
    source = tmp_path / "pictures.parquet"
    frame = pl.DataFrame({"id": ["a", "b"], "text": ["one", "two"], "picture": [PICTURES["png"], PICTURES["jpeg"]]})
    frame.write_parquet(source)
    spec = {"source": {"path": str(source), "id_column": "id"}, "limits": {"min_records_per_job": 100}}
    with open_lab(tmp_path, model=MODELS[family], model_invocation_type=invocation, task=TASK, **spec) as lab:
        lab.ask_in_runs()
        lab.finish()
        rows = lab.outputs(lab.shards[0])
    assert rows.select("status", "error_message").rows() == [("ok", None)] * 2
