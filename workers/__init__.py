"""The processes around the hub: the command line, the HTTP API, and what ``realtime dev`` starts for itself."""
