"""Settings of the Sphinx site: ``make docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # builds from a checkout, too

import parlinalg

project = "parlinalg"
author = "the parlinalg developers"
copyright = f"2026, {author}"
release = version = parlinalg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]
myst_heading_anchors = 3

default_role = "py:obj"  # single backticks in docstrings are names
autodoc_typehints = "none"  # the types in docstrings say more: shapes, and what is accepted
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"parlinalg {release}"
html_show_sphinx = False
