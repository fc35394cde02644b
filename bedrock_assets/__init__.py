"""Amazon Bedrock batch inference as Dagster assets: a model's answer beside every row of a big table."""

from bedrock_assets.component import BatchInference

__all__ = ["BatchInference"]
