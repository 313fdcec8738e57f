"""One page that shows the same requests under two schedulers side by side, as their readers see them, while it happens."""
