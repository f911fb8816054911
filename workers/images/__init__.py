"""Pictures: previews of files, and pictures that are drawn."""
