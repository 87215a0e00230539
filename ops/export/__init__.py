"""Export: orders, events and postings, written for other programs, in pieces that survive."""
