"""The short depthwise causal convolution with SiLU that stands before linear attention."""
