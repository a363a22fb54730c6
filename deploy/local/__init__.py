"""The whole of phone-scrubber on one machine: a real Kafka, every role, a simulated lookup API, one supervisor."""
