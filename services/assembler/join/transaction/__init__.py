"""The steps of one transaction of the join; they need a database, but no Kafka."""
