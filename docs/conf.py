"""The documentation site: `make docs` builds it into build/docs; all warnings are errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_site"))

import supcrd

project = "supcrd"
author = copyright = "The supcrd authors"
version = release = supcrd.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "directives",
]
exclude_patterns = ["results/*", "_site/*"]
source_suffix = {".md": "markdown"}
nitpicky = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_admonition_for_examples = False
napoleon_custom_sections = [("Source", "notes_style")]
default_role = "code"  # docstrings have code in single backticks
add_module_names = False
suppress_warnings = ["misc.highlighting_failure"]  # ```floors of architecture.md, which a test reads

highlight_language = "none"  # of blocks that name no language: commands
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"supcrd {version}"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # it fetches the pages, which a browser does not where they are files
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
