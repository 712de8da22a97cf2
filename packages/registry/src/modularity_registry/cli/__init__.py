"""The command line, one module a topic; a command is imported when it is named."""
