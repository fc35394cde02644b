"""The Converse request, for any model that supports it. Source: Converse API and batch inference guide, 2026-11."""

from dataclasses import replace

from bedrock_assets.families.nova import FAMILY as NOVA

# Nova's own format is the Converse format; Converse answers carry the other union members as nulls, which reading
# `text` alone skips.
FAMILY = replace(NOVA, name="converse", models=r"(?!)", invocation_type="Converse")
