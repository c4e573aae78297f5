"""What stands in the panels around the diagram, as pure functions from values to styled lines. No Textual in here."""
