# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes the site; scripts/build_docs.py lays out what it reads."""

project = "bramble.pi"
copyright = "bramble.pi contributors"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
antsibull_ext_color_scheme = "default-autodark"
# Headings have the anchors that GitHub gives them.
myst_heading_anchors = 4
# Examples that are only indented are terminals as often as YAML.
highlight_language = "none"
# The reference names pages of ansible-core's own site, which is not asked. What it names of the collection is
# checked by antsibull-docs; links between our Markdown files have warnings of another kind.
suppress_warnings = ["ref.ref"]
