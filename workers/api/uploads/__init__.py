"""Uploads: multipart forms that are streamed to disk, whole or in chunks, and what is known of incomplete ones."""
