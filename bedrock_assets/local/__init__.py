"""The local stack: emulator, Dagster with its daemon and web server, and one folder for everything they keep."""
