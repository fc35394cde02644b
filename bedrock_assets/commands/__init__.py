"""The commands of `bedrock-assets`, one file each; what takes long to import is imported when a command runs."""
