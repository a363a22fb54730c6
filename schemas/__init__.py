"""The contract between the services: topics, messages, phone normalisation, the answer rule and the codec; no I/O."""
