"""The command line: one module a command, with its tables and progress."""
