"""Where the bytes of files and deployments are kept: a folder, or a bucket of S3."""
