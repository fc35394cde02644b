"""The local default: emulator, Dagster with its daemon and web server, and a folder for all they keep."""
