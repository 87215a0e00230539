"""House tests: the rules of this codebase, checked on the codebase itself."""
