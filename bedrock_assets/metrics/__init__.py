"""
An endpoint for Prometheus: shards, jobs, slots, tokens and sensors of a deployment, read at each scrape.

Nothing is kept but what can be read again, so any number of processes may serve it, and a restart changes nothing.
"""
