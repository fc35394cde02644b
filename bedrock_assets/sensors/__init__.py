"""
The sensors of a code location: the dispatcher of all jobs, the watchers of inbox folders, and optional alerts.

A sensor gathers, calls `jobs` or `inbox`, and returns run requests.
"""
