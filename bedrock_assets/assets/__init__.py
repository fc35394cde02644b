"""
The assets and checks of pipelines and inboxes, as Dagster runs them: thin, each calls a stage and reports its numbers.

`pipeline` and `inbox` build the assets; the other files are what a run of `batch_outputs` does, and what the UI shows.
"""
