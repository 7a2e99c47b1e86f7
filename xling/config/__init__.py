"""The sweep file: its schema, how it is read, and how its grid becomes cells."""
