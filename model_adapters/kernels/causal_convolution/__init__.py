"""The short depthwise causal convolution with SiLU before linear attention."""
