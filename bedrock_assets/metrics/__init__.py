"""
An endpoint for Prometheus: what Dagster's log, Bedrock and the store say of a deployment, asked at each scrape.

Nothing is kept between scrapes but what was read before, so any number of processes may serve it, and one that starts
again tells the same.
"""
