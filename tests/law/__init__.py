"""Law: commands as they were stamped, through the rules alone, equal what the pipeline made."""
