"""Web pages that stylize photos in the browser: one HTML file that holds the networks and the code that runs them.

The page's own sources are in page/: HTML, CSS and JavaScript. Does not depend on training or on Core ML.
"""

from tinystyle.web.build import MAX_BYTES, Page, build_page

__all__ = ["MAX_BYTES", "Page", "build_page"]
