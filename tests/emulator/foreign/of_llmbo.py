"""LLMbo: one job for each model of its adapters; prints how many answers came, and the first one's text."""

import json
import sys

from llmbo import BatchInferer, ModelInput

bucket, role_arn, folder = sys.argv[1:4]
told = {}
for number, model in enumerate(sys.argv[4:]):
    inferer = BatchInferer(model, bucket, "us-east-1", f"llmbo-{number}", role_arn, output_dir=folder)
    inputs = {
        f"r{i}": ModelInput(messages=[{"role": "user", "content": f"Summarize: invoice {i} was paid."}], max_tokens=64)
        for i in range(100)
    }
    inferer.prepare_requests(inputs)
    inferer.push_requests_to_s3()
    inferer.create()
    inferer.poll_progress(0.2)
    ended = inferer.client.get_model_invocation_job(jobIdentifier=inferer.job_arn)
    if ended["status"] != "Completed":
        sys.exit(f"{model}: {ended['status']}: {ended.get('message')}")
    inferer.download_results()
    inferer.load_results()
    results = inferer.results
    told[model] = [len(results), inferer.manifest.successRecordCount, json.dumps(results[0]["modelOutput"])]
print(json.dumps(told))
