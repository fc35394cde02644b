"""The code location: every folder under `defs/`, and the resources they share."""

import warnings
from pathlib import Path

import dagster as dg

from bedrock_assets.resources.environment import resources

# Dagster 1.13 warns of its own use of a beta parameter wherever a component brings asset checks. It loads components
# with the filters set aside, so that only one set here, before, is kept.
warnings.filterwarnings("ignore", message="Parameter `execution_type`", category=dg.BetaWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """Settings come from the environment; see the README for each."""
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(resources=resources(), executor=dg.in_process_executor),
    )
