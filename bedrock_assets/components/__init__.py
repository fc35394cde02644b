"""
The Dagster components: a folder with a `defs.yaml` becomes assets, checks and sensors.

`batch` loads them, `scaffold` writes new ones.
"""
