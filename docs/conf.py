"""Configuration of the documentation site: `make docs` builds it into build/docs."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

project = "Reviver"
author = "The Reviver authors"
copyright = "The Reviver authors"  # noqa: A001 - the name that Sphinx reads
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "tools.site",
]
exclude_patterns = ["measurements", "pictures"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
html_math_renderer = (
    "mathml"  # rendered by the browser, so that the site needs no script from elsewhere
)

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    ("Attributes", "params_style")
]  # as a list, beside what autodoc documents by itself
viewcode_follow_imported_members = False
viewcode_line_numbers = True

suppress_warnings = [
    "ref.python"
]  # two classes of one name, such as LSTM, differ by their modules

html_theme = "furo"
html_title = "Reviver"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
