"""Export tests: files and folders, and who reads them."""
