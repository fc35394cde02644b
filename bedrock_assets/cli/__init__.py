"""The command line: one file a command, named like the command. Every command is a thin shell around `operations`."""
