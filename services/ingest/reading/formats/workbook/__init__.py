"""Excel workbooks: parsed by a child process within limits (`child`), which streams rows to the parent (`parent`).

The sheets are read here, with expat, because the known readers cannot be bounded or are slow. Measured on a million
rows of five cells (31 MB): python-calamine 475 MB, and two cells far apart (6 kB) make it ask for 550 GB; openpyxl
100 µs of CPU a row; this 38 µs and 27 MB, whatever the number of rows.
"""
