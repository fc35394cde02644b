"""The package's imports: counted, held to the contract in pyproject.toml, and drawn."""
