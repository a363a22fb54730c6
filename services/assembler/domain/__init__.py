"""What uploads, rows and results mean: decisions and values, without a client library."""
