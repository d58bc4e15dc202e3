"""The logic behind the contract: plain values in, plain values out."""
