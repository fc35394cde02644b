"""How a run shows an error of this package: its sentence, and not the way through the code to it."""

import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

import dagster as dg

from bedrock_assets.errors import BedrockAssetsError

Params = ParamSpec("Params")
Result = TypeVar("Result")


def sentence_first(run: Callable[Params, Iterator[Result]]) -> Callable[Params, Iterator[Result]]:
    """
    The function of an asset, with an error of this package as a `dagster.Failure`.

    Dagster puts a failure's text above all frames, and those of any other exception below its own lines. The
    frames of ours go to the run's log at level DEBUG, the error's class into the failure's metadata as `kind`. Other
    exceptions are left as they are: they are defects.
    """

    @wraps(run)
    def guarded(*args: Params.args, **kwargs: Params.kwargs) -> Iterator[Result]:
        try:
            yield from run(*args, **kwargs)
        except BedrockAssetsError as error:
            dg.get_dagster_logger().debug(traceback.format_exc())
            raise dg.Failure(str(error), {"kind": type(error).__name__}, allow_retries=error.retryable) from None

    return guarded
