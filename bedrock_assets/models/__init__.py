"""Facts about single models, from one dated file that ships: lifecycle, batch, limits, parameters, prices."""

from bedrock_assets.models.catalogue import Catalogue, Source, bare_id, catalogue, find_model
from bedrock_assets.models.model import DAYS_BEFORE_END, Facts, ListPrice, Model, SchemaMode, Stage

__all__ = [
    "DAYS_BEFORE_END",
    "Catalogue",
    "Facts",
    "ListPrice",
    "Model",
    "SchemaMode",
    "Source",
    "Stage",
    "bare_id",
    "catalogue",
    "find_model",
]
