"""Renders a refusal as an HTML page, for browsers that send the form without JavaScript."""

from html import escape

from schemas.interface import Problem

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{detail}</p>
{items}<p><a href="/">Back to the uploads</a></p>
</main>
</body>
</html>
"""


def refusal_page(problem: Problem) -> str:
    """An HTML page that names the problem and links back to the uploads."""
    details = [item.detail for item in problem.errors if item.detail]
    lines = "".join(f"<li>{escape(detail)}</li>\n" for detail in details)
    return _PAGE.format(
        title=escape(problem.title), detail=escape(problem.detail), items=f"<ul>\n{lines}</ul>\n" if lines else ""
    )
