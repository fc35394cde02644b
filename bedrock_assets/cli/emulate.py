"""The command `bedrock-assets emulate`; the emulator itself is imported when it runs, so that others start fast."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from bedrock_assets.emulator.faults import Faults
    from bedrock_assets.emulator.replies import Models


ENDPOINTS = ("BEDROCK", "BEDROCK_RUNTIME", "SERVICE_QUOTAS")
"""Ends of the variables `AWS_ENDPOINT_URL_...` that point AWS SDKs at an emulator."""


def emulate(
    store: Annotated[str, typer.Option(help="Folder that holds one folder per bucket, or s3:// for real buckets.")],
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 4599,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other machines reach it only if told.")
    ] = "127.0.0.1",
    speed: Annotated[float, typer.Option(min=0.001, help="Emulated seconds of a job's life per real second.")] = 1.0,
    stepped: Annotated[bool, typer.Option("--stepped", help="Time stands still until POST /admin/clock.")] = False,
    db: Annotated[Path, typer.Option(help="SQLite file of the jobs; they survive a restart.")] = Path(
        "emulator.sqlite"
    ),
    faults: Annotated[Path | None, typer.Option(exists=True, help="JSON file of faults to inject.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="A fault as NAME=VALUE, over those of the file; may be repeated.")
    ] = None,
    max_jobs: Annotated[int, typer.Option(min=1, help="Jobs in flight per model.")] = 20,
    queue: Annotated[bool, typer.Option("--queue", help="Jobs over --max-jobs wait instead of being refused.")] = False,
    min_records: Annotated[int, typer.Option(min=1, help="Fewest records of a job.")] = 100,
    max_records: Annotated[int, typer.Option(min=1, help="Most records of a job.")] = 50_000,
    reuse_names: Annotated[
        bool, typer.Option("--reuse-names", help="The name of a job that ended is free again.")
    ] = False,
    chat_url: Annotated[str | None, typer.Option(help="OpenAI-compatible base URL that answers prompts.")] = None,
    chat_model: Annotated[str, typer.Option(help="Its model's name.")] = "default",
    embed_url: Annotated[str | None, typer.Option(help="OpenAI-compatible base URL that makes embeddings.")] = None,
    embed_model: Annotated[str, typer.Option(help="Its model's name.")] = "default",
    api_key: Annotated[str | None, typer.Option(envvar="OPENAI_API_KEY", help="Key for both URLs.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Records of a job that the URLs answer at once.")] = 8,
    minilm: Annotated[bool, typer.Option("--minilm", help="Embeddings by MiniLM; needs the extra `minilm`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON on standard output.")] = False,
) -> None:
    """Run the emulator of Bedrock batch inference alone; point AWS_ENDPOINT_URL_BEDROCK at it."""
    from bedrock_assets.emulator import Emulator, serve
    from bedrock_assets.limits import JobLimits

    try:
        sizes = {"min_records_per_job": min_records, "max_records_per_job": max_records}
        limits = JobLimits.model_validate({"max_jobs": max_jobs, **sizes})
        injected = read_faults(faults, fault or [])
        models = _models((chat_url, chat_model), (embed_url, embed_model), api_key, concurrency, minilm=minilm)
        mode = "queue" if queue else "refuse"
        emulator = Emulator(
            *(store, db, port, host, speed, limits, mode, injected),
            reuse_names=reuse_names,
            stepped=stepped,
            models=models,
        )
        serve(emulator, lambda url: _tell(url, store, as_json=as_json))
    except (ValueError, ModuleNotFoundError) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"the emulator cannot start on {host}, port {port}, with {db}: {error}")


def read_faults(path: Path | None, settings: list[str]) -> "Faults":
    """
    Faults of a file, and over them those of NAME=VALUE settings, whose values are JSON or else text.

    Raises:
        ValueError: A setting has no value, or is not one of `Faults`.
    """
    from bedrock_assets.emulator.faults import Faults

    more: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--fault takes NAME=VALUE, not {setting!r}")
        try:
            more[name] = json.loads(text)
        except ValueError:
            more[name] = text
    return Faults.from_file(path, more) if path else Faults.model_validate(more)


def _models(
    chat: tuple[str | None, str], embed: tuple[str | None, str], api_key: str | None, concurrency: int, *, minilm: bool
) -> "Models":
    from bedrock_assets.emulator.replies import Endpoint, choose_models

    endpoints = [Endpoint(url, model, api_key) if url else None for url, model in (chat, embed)]
    return choose_models(chat=endpoints[0], embed=endpoints[1], concurrency=concurrency, with_minilm=minilm)


def _tell(url: str, store: str, *, as_json: bool) -> None:
    settings = " ".join(f"AWS_ENDPOINT_URL_{name}={url}" for name in ENDPOINTS)
    text = f"emulator at {url}; use it with: export {settings}"
    typer.echo(json.dumps({"endpoint_url": url, "store": store}) if as_json else text)


def _refuse(message: str) -> NoReturn:
    typer.secho(f"error: {message}", fg="red", err=True)
    raise typer.Exit(2)
