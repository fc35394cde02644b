"""bedrockhelper: embeddings by a job, and a stream of text; prints what it makes of both."""

import json
import sys

from bedrockhelper.main import BedrockHelper

bucket, role_arn = sys.argv[1:3]
helper = BedrockHelper("us-east-1", rag_model_id="us.amazon.nova-lite-v1:0")
job = helper.submit_embedding_batch_job(
    [(f"r{i}", f"invoice {i}") for i in range(100)], s3_bucket=bucket, s3_prefix="helper", role_arn=role_arn
)
ended = helper.wait_for_batch_job(job.job_id, poll_seconds=0.2)
vectors = helper.parse_batch_embeddings(output_s3_uri=job.output_s3_uri)
stream = helper.stream_with_rag(
    system_prompt="Answer from the context.", context=["Invoice 7 was paid in May."], question="Was invoice 7 paid?"
)
text = "".join(stream)
print(json.dumps([ended["status"], len(vectors), len(vectors["r0"]), text]))
