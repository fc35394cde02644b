"""
The collecting side of the asset `batch_outputs`: what Bedrock wrote becomes one outcome for each row of a shard.

Answers are read in columns, validated against the pipeline's schema, and joined to the rows that they belong to.
"""
