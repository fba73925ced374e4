"""Double of Habana's PyTorch bridge."""
