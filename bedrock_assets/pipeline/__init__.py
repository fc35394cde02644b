"""
A spec made ready to work: its family, templates, schema and rows, and the records made of the rows.

`load` finds and reads the YAML; nothing here sends a record.
"""
