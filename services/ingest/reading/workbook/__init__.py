"""Excel workbooks: parsed by a child process within limits (`child`), which streams rows to the parent (`parent`)."""
