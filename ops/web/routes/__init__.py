"""Routes: one module for each subject of the HTTP interface and the ops page."""
