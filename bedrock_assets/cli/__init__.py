"""The command line: one file for each command. Commands read options and print; `operations` does the work."""
