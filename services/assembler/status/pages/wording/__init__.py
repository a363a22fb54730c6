"""Every word of the pages that no template holds, by subject."""
