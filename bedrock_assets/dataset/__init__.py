"""The asset `raw_dataset`: reads the source, gives each row a record id, and cuts the rows into shards."""
