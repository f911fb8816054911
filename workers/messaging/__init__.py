"""Sending messages: what was written with the API goes out by mail servers, and its fate is recorded."""
