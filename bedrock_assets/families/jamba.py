"""
AI21 Jamba: chat completion.

Source: Amazon Bedrock user guide, AI21 Labs Jamba models, 2026-11 (`messages`, `max_tokens`, `stop`; `choices`,
`usage`). A schema is asked for by the prompt: the guide names no way of the service's own.
"""

from dataclasses import replace

from bedrock_assets.families.chat import FAMILY as CHAT

FAMILY = replace(CHAT, name="jamba", models=r"ai21\.jamba-.*", modes={"prompt": ".*"})
