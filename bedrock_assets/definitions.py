"""The code location of the demo: every folder under `bedrock_assets/defs/`."""

import warnings
from importlib import import_module
from pathlib import Path

import dagster as dg

# Dagster 1.13 warns of beta classes and parameters that it uses itself wherever it loads a component. It sets the
# filters aside meanwhile, so that only one set here, before, is kept.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """Settings come from the environment; see docs/how-to.md for each."""
    # Not by `load_from_defs_folder`: it looks for a project file, and an installed package has none. And not by the
    # tree's `build_defs`, which imports every installed package with components, in every run, to describe their types
    # in the UI: dagster-aws alone takes a second.
    folder = Path(__file__).parent
    tree = dg.ComponentTree.from_module(import_module("bedrock_assets.defs"), project_root=folder.parent)
    pipelines = sorted(path.parent for path in (folder / "defs").glob("*/defs.yaml"))
    own = dg.Definitions(executor=dg.in_process_executor, component_tree=tree)
    return dg.Definitions.merge(*map(tree.build_defs_at_path, pipelines), own)
