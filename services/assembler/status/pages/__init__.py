"""The HTML pages, rendered on the server; their styles and scripts load nothing from elsewhere."""
