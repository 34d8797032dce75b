"""The command line `hone`: one module a command, and what they share."""
