"""
Inboxes: ready-made JSONL files that are dropped into a folder of the store, taken, checked and answered.

A run of `dropped_files` is `take`; from then on a file is a shard like any other.
"""
