"""The HTML pages: drawn here, from templates, styles and scripts that need nothing from elsewhere."""
