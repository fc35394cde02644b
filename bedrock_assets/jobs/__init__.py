"""
The submitting side of the asset `batch_outputs`: requests, the jobs that answer them, and the runs that collect.

`enqueue` records requests; at each tick of the sensor `dispatch` observes the jobs and carries out what `reconcile`
plans; the event log is the only state, and `ledger` reads it.
"""
