"""Running functions: the port to whatever runs their code, and the executions that are handed to it."""
