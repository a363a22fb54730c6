"""The process shell that all roles run in: logging, signals, Kafka clients, the heartbeat, HTTP manners."""
