"""The rules for uploads, rows and results: decisions and values, without a client library."""
