"""The page and the reports: templates, static files, and drawings that need neither script nor network."""
