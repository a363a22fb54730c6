"""The process shell that all roles run in: logging, signals, Kafka clients, the sign of life, HTTP manners."""
