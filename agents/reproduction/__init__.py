"""The Andes paper's figures and claims, made again in the simulator: `scripts.reproduce` writes REPRODUCTION.md from here."""
