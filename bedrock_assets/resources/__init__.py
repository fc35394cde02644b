"""
The Dagster resources: the store, Bedrock with its Regions, and the queue of job events.

`environment` makes them from environment variables; nothing else reads those.
"""
