"""Databases, their tables, and what a table looks like: the routes of both vocabularies."""
