"""A real single-node Apache Kafka on this machine, as the local stack and the tests run it."""

from deploy.local.broker.server import HOST, Broker, free_port, prepare_broker, wait_until_answering

__all__ = ["HOST", "Broker", "free_port", "prepare_broker", "wait_until_answering"]
