"""RESULTS.md: what the policies of the zoo are worth, against what, and by how much; made by `scripts.results` from here."""
