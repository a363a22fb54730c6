"""What one transaction of the join does, step by step; needs a database, but neither Kafka nor a clock."""
