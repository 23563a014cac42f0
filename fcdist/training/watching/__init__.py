"""What can go wrong while ranks train together, noticed and told."""
