"""The face: the OpenAI-compatible HTTP API, feedback, the operations API and the command line."""
