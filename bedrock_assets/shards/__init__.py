"""The asset `prompt_shards`: each shard's rows become a JSONL file of records, without those that have answers."""
