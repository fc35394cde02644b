"""What each command of `bedrock-assets` does, one module a command; how it is shown is left to the package `cli`."""
