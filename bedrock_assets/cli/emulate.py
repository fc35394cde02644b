"""`bedrock-assets emulate`: the emulator alone, with its settings as options."""

import inspect
import json
from typing import Annotated, Any

import typer
from annotated_types import Ge
from pydantic import ValidationError

from bedrock_assets.cli.common import fail
from bedrock_assets.emulator.complaints import in_one_line
from bedrock_assets.emulator.settings import ENDPOINT_VARIABLES, PYTHON_ONLY, EmulatorSettings

DETAILS: dict[str, dict[str, Any]] = {"faults_file": {"exists": True}, "api_key": {"envvar": "OPENAI_API_KEY"}}
"""What an option has besides its description and bounds."""


def emulate(*, as_json: bool, **settings: Any) -> None:
    """Run the emulator of Bedrock batch inference alone; point AWS_ENDPOINT_URL_BEDROCK at it."""
    from bedrock_assets.emulator import Emulator, serve

    store = settings["store"]

    def announce(url: str) -> None:
        variables = " ".join(f"{name}={url}" for name in ENDPOINT_VARIABLES)
        text = f"emulator at {url}; use it with: export {variables}"
        typer.echo(json.dumps({"endpoint_url": url, "store": store}) if as_json else text)

    try:
        EmulatorSettings.model_validate(settings).check_store()
        serve(Emulator(**settings), announce)
    except ValidationError as error:
        fail(in_one_line(error, EmulatorSettings.model_fields), 2)
    except (ValueError, ModuleNotFoundError) as error:
        fail(str(error), 2)
    except OSError as error:
        address = f"{settings['host']}, port {settings['port']}"
        fail(f"the emulator cannot start on {address}, with {settings['db'] or store}: {error}", 2)


def _options() -> list[inspect.Parameter]:
    """A parameter for Typer for each field of the settings, and `--json`."""
    parameters: list[inspect.Parameter] = []
    for name, field in EmulatorSettings.model_fields.items():
        if name not in PYTHON_ONLY:
            flag = "--faults" if name == "faults_file" else f"--{name.replace('_', '-')}"
            least = next((rule.ge for rule in field.metadata if isinstance(rule, Ge)), None)
            option = typer.Option(flag, help=field.description, min=least, **DETAILS.get(name, {}))  # pyright: ignore
            default = inspect.Parameter.empty if field.is_required() else field.default
            parameters.append(_parameter(name, field.annotation, option, default))
    option = typer.Option("--json", help="Print the address as JSON on standard output.")
    return [*parameters, _parameter("as_json", bool, option, False)]


def _parameter(name: str, kind: Any, option: Any, default: Any) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


emulate.__signature__ = inspect.Signature(_options())  # pyright: ignore[reportFunctionMemberAccess] - Typer reads it
