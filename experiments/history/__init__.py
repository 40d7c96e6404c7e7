"""Real prices: where they come from, and hedging on them."""
