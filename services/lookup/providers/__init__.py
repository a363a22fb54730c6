"""Adapters to lookup APIs: one module each, all behind the protocol in `protocol`. `registry` chooses among them."""
