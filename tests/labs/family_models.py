"""A model of each family, as tests name it."""

MODELS = {
    "anthropic": "anthropic.claude-haiku-4-5-20251001-v1:0",
    "nova": "us.amazon.nova-lite-v1:0",
    "converse": "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "chat": "qwen.qwen3-32b-v1:0",
    "gpt_oss": "openai.gpt-oss-20b-1:0",
    "mistral_chat": "mistral.mistral-large-2407-v1:0",
    "jamba": "ai21.jamba-1-5-mini-v1:0",
    "llama": "us.meta.llama3-1-8b-instruct-v1:0",
    "llama4": "us.meta.llama4-scout-17b-instruct-v1:0",
    "mistral": "mistral.mistral-7b-instruct-v0:2",
    "deepseek_r1": "us.deepseek.r1-v1:0",
    "titan_text": "amazon.titan-text-express-v1",
    "titan_embed_v2": "amazon.titan-embed-text-v2:0",
    "titan_embed_g1": "amazon.titan-embed-text-v1",
    "titan_embed_multimodal": "amazon.titan-embed-image-v1",
    "cohere_embed_v3": "cohere.embed-english-v3",
    "cohere_embed_v4": "us.cohere.embed-v4:0",
    "nova_2": "us.amazon.nova-2-lite-v1:0",
    "nova_embed": "amazon.nova-2-multimodal-embeddings-v1:0",
    "open_weight": "moonshot.kimi-k2-thinking",
}
