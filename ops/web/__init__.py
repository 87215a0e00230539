"""Web: the door for those who speak HTTP, and the page for those who operate."""
