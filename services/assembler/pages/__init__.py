"""The HTML pages: templates, styles and scripts, served from here and needing nothing from elsewhere."""
