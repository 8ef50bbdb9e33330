"""Records what goes on inside a network while it trains, and says afterwards what is wrong with it."""
