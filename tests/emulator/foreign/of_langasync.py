"""langasync: a LangChain chain over Claude as one job; prints what the chain's last step makes of the answers."""

import asyncio
import json

from langasync import BatchStatus, batch_chain
from langchain_aws import ChatBedrockConverse
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

model = ChatBedrockConverse(model="us.anthropic.claude-haiku-4-5-20251001-v1:0", region_name="us-east-1", max_tokens=64)
chain = ChatPromptTemplate.from_messages([("user", "Summarize: invoice {n} was paid.")]) | model | StrOutputParser()


async def main() -> None:
    """Submit, wait, and print."""
    job = await batch_chain(chain).submit([{"n": n} for n in range(100)])
    while (found := await job.get_results()).status_info.status not in (BatchStatus.COMPLETED, BatchStatus.FAILED):
        await asyncio.sleep(0.2)
    print(json.dumps([found.status_info.status.value, found.results]))


asyncio.run(main())
