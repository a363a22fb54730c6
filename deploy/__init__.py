"""How phone-scrubber is set up and run: topics, the local stack, images and manifests."""
