"""
The asset `joined_table`: every row of the dataset beside its answer, published as Parquet parts.

The preferences of a comparison, which are made of it, are here as well.
"""
