"""
Every AWS API but S3, over boto3 clients: batch jobs, models on demand, metrics, events, roles and their policies.

`Regions` is the face to the rest: it knows where a job runs, and callers do not.
"""
