"""The only caller of the API: order, pace, retries, records: a role of lookup."""
