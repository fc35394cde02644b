"""Whether a pipeline is whole: what is looked at when it is written or checked, and not whenever it is loaded."""

from bedrock_assets.dataset.ingest import read_rows
from bedrock_assets.inbox.inbox import Inbox
from bedrock_assets.jobs.rounds import upstream_keys
from bedrock_assets.pipeline.pipeline import Pipeline
from bedrock_assets.sensors.jobs import INTERVAL_S
from bedrock_assets.sensors.rounds import build_rounds_sensor, build_schedule
from bedrock_assets.sources.file_paths import LocalFiles


def require_columns(pipeline: Pipeline) -> None:
    """
    Hold the prompt and `id_column` against the columns of a local file, if there is one already.

    Raises:
        ConfigError: The file cannot be read.
        DataError: The first rows do not fit.
        PromptError: A placeholder names no column.
    """
    path = pipeline.path
    if path and not path.startswith("s3://") and LocalFiles(path).found:
        next(read_rows(pipeline), None)


def require_whole(owner: Pipeline | Inbox) -> None:
    """
    Look at all that can be wrong before a run: columns, `schedule`, `automation`.

    Raises:
        BedrockAssetsError: The first thing that is wrong.
    """
    if isinstance(owner, Pipeline):
        require_steps(owner)
        require_columns(owner)


def require_steps(pipeline: Pipeline) -> None:
    """
    Raises:
        PromptError: The prompt has no placeholder.
        ConfigError: `schedule` is no cron expression, or `automation` has nothing to follow.
    """
    pipeline.require_placeholder()
    if pipeline.spec.schedule:
        build_schedule(pipeline)
    if pipeline.spec.automation:
        build_rounds_sensor(pipeline, upstream_keys(pipeline.spec), INTERVAL_S)
