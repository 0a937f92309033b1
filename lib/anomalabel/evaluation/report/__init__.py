"""The report of an evaluation: one HTML file that opens without network."""
