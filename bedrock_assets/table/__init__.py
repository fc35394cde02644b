"""
The asset `joined_table`: every row of the dataset beside its answer, published as Parquet parts.

Exports of the table are here as well: preferences, Delta, and the Hugging Face hub.
"""
