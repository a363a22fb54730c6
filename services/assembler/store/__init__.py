"""What the assembler keeps in SQL: tables, writes of the join, reads of both roles; the only code that knows SQL."""
