"""langbatch: chats with Claude and Nova in the format of OpenAI; prints its own view of the results."""

import json
import sys
import time

from langbatch.bedrock import BedrockClaudeChatCompletionBatch, BedrockNovaChatCompletionBatch

bucket, role_arn = sys.argv[1:3]
MODELS = {
    "us.anthropic.claude-haiku-4-5-20251001-v1:0": BedrockClaudeChatCompletionBatch,
    "us.amazon.nova-lite-v1:0": BedrockNovaChatCompletionBatch,
}
told = {}
for model, kind in MODELS.items():
    batch = kind.create(
        [[{"role": "user", "content": f"Summarize: invoice {i} was paid."}] for i in range(100)],
        request_kwargs={"model": model, "max_tokens": 64},
        batch_kwargs={
            "model": model,
            "input_bucket": bucket,
            "output_bucket": bucket,
            "region": "us-east-1",
            "service_role": role_arn,
        },
    )
    batch.start()
    while batch.get_status() == "in_progress":
        time.sleep(0.2)
    good, bad = batch.get_results()
    told[model] = [batch.get_status(), len(good), len(bad), json.dumps(good[0])]
print(json.dumps(told))
