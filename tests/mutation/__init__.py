"""Mutation: small faults in the rules, drawn by chance, each of which some test must notice."""
