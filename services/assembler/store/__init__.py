"""The assembler's data in SQL: tables, writes of the join, reads of both roles. No other code knows SQL."""
