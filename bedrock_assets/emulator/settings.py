"""Every setting of an emulator, with its default, bounds and meaning. `bedrock-assets emulate` has them as options."""

import json
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedrock_assets.emulator.complaints import in_one_line
from bedrock_assets.emulator.faults import Faults
from bedrock_assets.emulator.replies.base import Models
from bedrock_assets.limits import JobLimits

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL_SERVICE_QUOTAS")
"""Variables that point AWS SDKs at an emulator."""


class EmulatorSettings(BaseModel):
    """Settings of an emulator. `limits`, `faults` and `models` are Python only and replace the fields named there."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    store: str = Field(description="Folder that holds one folder per bucket, or s3:// for real buckets.")
    port: int = Field(default=4599, ge=0, le=65535, description="Port; 0 takes a free one.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 lets other machines connect.")
    speed: float = Field(default=1.0, ge=0.001, description="Emulated seconds of a job's life per real second.")
    stepped: bool = Field(default=False, description="Time stands still until POST /admin/clock.")
    db: Path | None = Field(
        default=None,
        description="SQLite file of the jobs; they survive a restart. By default emulator.sqlite in the store's "
        "folder; for s3:// in the current one.",
    )
    faults_file: Path | None = Field(default=None, description="JSON file of faults to inject.")
    fault: list[str] | None = Field(
        default=None, description="A fault as NAME=VALUE; it overrides the file. May be repeated."
    )
    max_jobs: int = Field(default=20, ge=1, description="Jobs in flight per model.")
    queue: bool = Field(default=False, description="Jobs over --max-jobs wait instead of being refused.")
    min_records: int = Field(default=100, ge=1, description="Fewest records of a job.")
    max_records: int = Field(default=50_000, ge=1, description="Most records of a job.")
    reuse_names: bool = Field(default=False, description="The name of a job that ended is free again.")
    lenient: bool = Field(
        default=False, description="Records are taken also with keys, types and values that their model refuses."
    )
    any_model: bool = Field(
        default=False,
        description="Create takes any model, profile, role and bucket owner, also those that AWS refuses.",
    )
    token_conflicts: bool = Field(
        default=False, description="A token that is used again with another request is a conflict, not ignored."
    )
    token_hours: float = Field(
        default=24, gt=0, description="Emulated hours for which a token is remembered, and while its job is in flight."
    )
    events_queue: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]+/.+$",
        description="URL of an SQS queue that gets EventBridge's job events; its server is the URL's.",
    )
    chat_url: str | None = Field(default=None, description="OpenAI-compatible base URL that answers prompts.")
    chat_model: str = Field(default="default", description="Name of the model at --chat-url.")
    embed_url: str | None = Field(default=None, description="OpenAI-compatible base URL that makes embeddings.")
    embed_model: str = Field(default="default", description="Name of the model at --embed-url.")
    api_key: str | None = Field(default=None, repr=False, description="Key for both URLs.")
    concurrency: int = Field(default=8, ge=1, description="Records of a job that the URLs answer at once.")
    minilm: bool = Field(default=False, description="Embeddings by MiniLM; needs the extra `minilm`.")

    limits: JobLimits | None = Field(default=None, description="Instead of max_jobs, min_records and max_records.")
    faults: Faults | None = Field(default=None, description="Instead of faults_file and fault.")
    models: Models | None = Field(default=None, description="Instead of the URLs and minilm.")

    @property
    def database(self) -> Path:
        """The SQLite file."""
        folder = Path() if self.store.startswith("s3://") else Path(self.store)
        return self.db or folder / "emulator.sqlite"

    def read_limits(self) -> JobLimits:
        """Quotas of the account."""
        sizes = {"min_records_per_job": self.min_records, "max_records_per_job": self.max_records}
        return self.limits or JobLimits.model_validate({"max_jobs": self.max_jobs, **sizes})

    def read_faults(self) -> Faults:
        """
        Faults from the file, overridden by NAME=VALUE settings. A value is JSON, or else text.

        Raises:
            ValueError: A setting has no value or is not a field of `Faults`, or the file is not a JSON object of them;
                the message is one line that names the file.
        """
        if self.faults is not None:
            return self.faults
        overrides: dict[str, object] = {}
        for setting in self.fault or []:
            name, equals, text = setting.partition("=")
            if not equals:
                raise ValueError(f"--fault takes NAME=VALUE, not {setting!r}")
            try:
                overrides[name] = json.loads(text)
            except ValueError:
                overrides[name] = text
        where = "--fault" if self.faults_file is None else f"faults of {self.faults_file}"
        try:
            file = self.faults_file
            return Faults.model_validate(overrides) if file is None else Faults.from_file(file, overrides)
        except ValidationError as error:
            raise ValueError(f"{where}: {in_one_line(error, Faults.model_fields)}") from None

    def check_store(self) -> None:
        """
        Check that the store is there.

        Raises:
            ValueError: It is no folder, and not `s3://` alone.
        """
        if self.store.startswith("s3://"):
            if self.store != "s3://":
                raise ValueError(f"{self.store}: the store is s3:// alone; jobs name their buckets themselves")
        elif not Path(self.store).is_dir():
            raise ValueError(f"{self.store} is not a folder: make it, with one folder in it for each bucket")

    def choose_models(self) -> Models:
        """
        What answers requests: real models where a URL or MiniLM is set, rules elsewhere.

        Raises:
            ValueError: A URL does not begin with http:// or https://.
            ModuleNotFoundError: The extra `minilm` is not installed.
        """
        from bedrock_assets.emulator.replies import Endpoint, choose_models

        chat, embed = (
            Endpoint(url, model, self.api_key) if url else None
            for url, model in ((self.chat_url, self.chat_model), (self.embed_url, self.embed_model))
        )
        models = self.models or choose_models(
            chat=chat, embed=embed, concurrency=self.concurrency, with_minilm=self.minilm
        )
        return replace(models, strict=models.strict and not self.lenient)


PYTHON_ONLY = ("limits", "faults", "models")
"""Fields that are Python objects and so are not options of the command."""
