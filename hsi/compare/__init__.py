"""Two models side by side: whether they answer alike, and whether they look at the same things."""
